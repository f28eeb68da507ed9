-- A sign and a currency may be on either side; brackets mean a negative amount; "12,-" has no cents.
CREATE OR REPLACE MACRO _lume_money_parts(t) AS regexp_extract(t,
  '^(\(?) ?([-+−–]?) ?({currency})? ?([-+−–]?) ?([\d.,][\d.,''’ ]*?)(?:[.,][-–—]+)? ?({currency})? ?([-−–]?) ?(\)?)$',
  ['open', 'first', 'before', 'second', 'digits', 'behind', 'last', 'close']);
-- Only if certain: many currencies use the $.
CREATE OR REPLACE MACRO _lume_currency(c) AS CASE c
  WHEN '€' THEN 'EUR' WHEN '£' THEN 'GBP' WHEN '₹' THEN 'INR' ELSE nullif(regexp_extract(c, '^[A-Z]{3}$'), '') END;
CREATE OR REPLACE MACRO _lume_signed(p, v) AS CASE
  WHEN _lume_currency(p.before) <> _lume_currency(p.behind) THEN NULL
  WHEN (p.open = '(') <> (p.close = ')') OR (p.first <> '')::INT + (p.second <> '')::INT + (p.last <> '')::INT > 1 THEN NULL
  WHEN p.open = '(' OR concat(p.first, p.second, p.last) NOT IN ('', '+') THEN -v
  ELSE v END;
CREATE OR REPLACE MACRO _lume_money(t, mark) AS list_transform([_lume_money_parts(t)],
  lambda _lume_p: _lume_signed(_lume_p, _lume_number(_lume_p.digits, mark)))[1];
CREATE OR REPLACE MACRO parse_money(x) AS _lume_money(_lume_text(x), NULL),
  (x, mark) AS _lume_money(_lume_text(x), mark);
