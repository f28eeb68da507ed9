-- Only the digits, of a text that holds no more than a number; "+49 (0)30" is "+49 30"
CREATE OR REPLACE MACRO _lume_dialled(t) AS CASE
  WHEN regexp_full_match(t, '(?:tel:)? ?\(?\+?[\d ().\-–‐‑/]+') AND regexp_matches(t, '\d')
  THEN regexp_replace(regexp_replace(t, '^((?:tel:)? ?\+ ?\d{1,3} ?)\(0\)', '\1'), '[^+\d]', '', 'g') END;

-- `plan` is "calling code|national prefix|international prefix" of the country
CREATE OR REPLACE MACRO _lume_international(n, plan) AS CASE
  WHEN starts_with(n, '+') THEN n
  WHEN starts_with(n, coalesce(split_part(plan, '|', 3), '00'))
    THEN concat('+', substr(n, 1 + length(coalesce(split_part(plan, '|', 3), '00'))))
  WHEN split_part(plan, '|', 2) <> '' AND starts_with(n, split_part(plan, '|', 2))
    THEN concat('+', split_part(plan, '|', 1), substr(n, 1 + length(split_part(plan, '|', 2))))
  ELSE '+' || split_part(plan, '|', 1) || n END;
-- Some numbers begin with what looks like a prefix.
CREATE OR REPLACE MACRO _lume_as_it_is(n, plan) AS
  CASE WHEN NOT starts_with(n, '+') THEN '+' || split_part(plan, '|', 1) || n END;

CREATE OR REPLACE MACRO _lume_real_phone(n) AS CASE WHEN regexp_full_match(n, '{phone}') THEN n END;
CREATE OR REPLACE MACRO _lume_phone(n, plan) AS
  coalesce(_lume_real_phone(_lume_international(n, plan)), _lume_real_phone(_lume_as_it_is(n, plan)));
CREATE OR REPLACE MACRO parse_phone(x) AS _lume_phone(_lume_dialled(_lume_text(x)), NULL),
  (x, country) AS _lume_phone(_lume_dialled(_lume_text(x)), {plans}[upper(country)]);
