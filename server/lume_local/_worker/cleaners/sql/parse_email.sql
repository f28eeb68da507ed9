-- The address of "Ann <ann@example.org>" and "mailto:ann@example.org", in lower case.
CREATE OR REPLACE MACRO _lume_bare_email(t) AS
  regexp_replace(regexp_replace(t, '^[^<>]*<([^<>]+)>$', '\1'), '^mailto:', '');
CREATE OR REPLACE MACRO _lume_email(t) AS CASE
  WHEN length(t) <= 254 AND regexp_full_match(t,
    '[^\s@<>()\[\],;:"\\.]+(?:\.[^\s@<>()\[\],;:"\\.]+)*@(?:[\pL\pN](?:[\pL\pN\pM-]*[\pL\pN\pM])?\.)+(?:[\pL\pM][\pL\pM]+|xn--[a-z0-9-]+)')
    AND strpos(t, '@') <= 65
  THEN t END;
CREATE OR REPLACE MACRO parse_email(x) AS _lume_email(_lume_bare_email(lower(_lume_text(x))));
