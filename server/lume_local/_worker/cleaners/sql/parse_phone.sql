-- Only the digits of a text that is just a number; "+49 (0)30" is "+49 30". After a whole number, "/ 57" is another
-- extension.
CREATE OR REPLACE MACRO _lume_dialled(t) AS CASE
  WHEN regexp_full_match(t, '(?:tel:)? ?\(?\+?[\d ().\-–‐‑/]+') AND regexp_matches(t, '\d')
    AND NOT regexp_matches(t, '(?:\d\D*){8}/[^\d/]*\d(?:[^\d/]*\d){0,2}[^\d/]*$')
  THEN regexp_replace(regexp_replace(t, '^((?:tel:)? ?\+ ?\d{1,3} ?)\(0\)', '\1'), '[^+\d]', '', 'g') END;

-- `plan` is the country's "calling code|national prefix|international prefix". (`split_part` is a macro itself, with
-- two copies of each argument.)
CREATE OR REPLACE MACRO _lume_international(n, plan) AS CASE
  WHEN starts_with(n, '+') THEN n
  WHEN starts_with(n, coalesce(string_split(plan, '|')[3], '00'))
    THEN concat('+', substr(n, 1 + length(coalesce(string_split(plan, '|')[3], '00'))))
  WHEN string_split(plan, '|')[2] <> '' AND starts_with(n, string_split(plan, '|')[2])
    THEN concat('+', string_split(plan, '|')[1], substr(n, 1 + length(string_split(plan, '|')[2])))
  ELSE '+' || string_split(plan, '|')[1] || n END;
-- Some numbers begin with digits that look like a prefix.
CREATE OR REPLACE MACRO _lume_as_it_is(n, plan) AS
  CASE WHEN NOT starts_with(n, '+') THEN '+' || string_split(plan, '|')[1] || n END;

-- The plan is looked up once, and the large pattern compiled once for each of DuckDB's chunks.
CREATE OR REPLACE MACRO _lume_phone(n, plan) AS list_filter(
  list_transform([{'n': n, 'plan': plan}], lambda _lume_p:
    [_lume_international(_lume_p.n, _lume_p.plan), _lume_as_it_is(_lume_p.n, _lume_p.plan)])[1],
  lambda _lume_c: regexp_full_match(_lume_c, '{phone}'))[1];
CREATE OR REPLACE MACRO parse_phone(x) AS _lume_phone(_lume_dialled(_lume_text(x)), NULL::VARCHAR),
  (x, country) AS _lume_phone(_lume_dialled(_lume_text(x)), {plans}[upper(country)]);
