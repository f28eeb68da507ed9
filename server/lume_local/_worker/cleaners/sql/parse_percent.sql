CREATE OR REPLACE MACRO _lume_share(t, mark) AS list_transform(
  [regexp_extract(t, '^([-+−–]?) ?([\d.,][\d.,''’ ]*?) ?(?:([%٪﹪％])|(‰))$', ['sign', 'digits', 'cent', 'mille'])],
  lambda _lume_p: CAST(_lume_number(_lume_p.digits, mark) AS DECIMAL(18,4))
    * CASE WHEN _lume_p.sign NOT IN ('', '+') THEN -1 ELSE 1 END
    * CASE WHEN _lume_p.cent <> '' THEN 0.010 ELSE 0.001 END)[1];
CREATE OR REPLACE MACRO parse_percent(x) AS _lume_share(_lume_text(x), NULL),
  (x, mark) AS _lume_share(_lume_text(x), mark);
