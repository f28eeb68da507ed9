-- The basis of several cleaners. `x` is any value; runs of spaces become one, invisible characters are removed, and
-- a blank text is NULL. U+200C and U+200D stay: scripts and emoji need them for joining.
CREATE OR REPLACE MACRO _lume_text(x) AS
  nullif(trim(regexp_replace(regexp_replace(nfc_normalize(CAST(x AS VARCHAR)),
    '[\x00-\x08\x0e-\x1f\x7f\x{80}-\x{84}\x{86}-\x{9f}\x{ad}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}\x{2066}-\x{2069}\x{feff}]+', '', 'g'),
    '[\s\x0b\x{85}\p{Z}]+', ' ', 'g')), '');

-- Digits with groups and a decimal point (or comma) as a number. NULL for any other form, or if digits would be lost.
CREATE OR REPLACE MACRO _lume_with_point(n) AS
  CASE WHEN regexp_full_match(n, '(\d+|[1-9]\d{0,2}((,\d{3})+|(,\d{2})+,\d{3}|( \d{3})+|([''’]\d{3})+))(\.(\d{1,4}0*)?)?|\.\d{1,4}0*')
  THEN TRY_CAST(regexp_replace(n, '[^0-9.]', '', 'g') AS DECIMAL(18,4)) END;
CREATE OR REPLACE MACRO _lume_with_comma(n) AS
  CASE WHEN regexp_full_match(n, '(\d+|[1-9]\d{0,2}((\.\d{3})+|( \d{3})+|([''’]\d{3})+))(,(\d{1,4}0*)?)?|,\d{1,4}0*')
  THEN TRY_CAST(replace(regexp_replace(n, '[^0-9,]', '', 'g'), ',', '.') AS DECIMAL(18,4)) END;

-- If the decimal mark is unknown, only an unambiguous text is a number.
CREATE OR REPLACE MACRO _lume_number(n, mark) AS CASE
  WHEN mark = '.' THEN _lume_with_point(n)
  WHEN mark = ',' THEN _lume_with_comma(n)
  WHEN mark IS NOT NULL OR _lume_with_point(n) <> _lume_with_comma(n) THEN NULL
  ELSE coalesce(_lume_with_point(n), _lume_with_comma(n)) END;
