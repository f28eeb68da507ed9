CREATE OR REPLACE MACRO _lume_day(y, m, d) AS
  TRY_CAST(concat(y, '-', lpad(CAST(m AS VARCHAR), 2, '0'), '-', lpad(CAST(d AS VARCHAR), 2, '0')) AS DATE);

-- 20240301, 2024-03-01, 2024/3/1, also followed by a midnight
CREATE OR REPLACE MACRO _lume_date_from_year(t) AS list_transform(
  [regexp_extract(t, '^(\d{4})(?:[-/.](\d{1,2})[-/.](\d{1,2})|(\d{2})(\d{2}))(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]00:?00)?)?$',
    ['y', 'm', 'd', 'mm', 'dd'])],
  lambda _lume_p: CASE WHEN _lume_p.y <> ''
    THEN _lume_day(_lume_p.y, concat(_lume_p.m, _lume_p.mm), concat(_lume_p.d, _lume_p.dd)) END)[1];

-- A year of two digits needs a known order; it is then one of 1969 to 2068, as in POSIX.
CREATE OR REPLACE MACRO _lume_year(y, d_order) AS CASE
  WHEN length(y) = 4 THEN y
  WHEN d_order IS NOT NULL AND length(y) = 2 THEN concat(CASE WHEN y >= '69' THEN '19' ELSE '20' END, y) END;
CREATE OR REPLACE MACRO _lume_ordered(p, y, d_order) AS CASE
  WHEN y IS NULL THEN NULL
  WHEN d_order = 'dmy' OR p.mark = '.' THEN _lume_day(y, p.b, p.a)
  WHEN d_order = 'mdy' THEN _lume_day(y, p.a, p.b)
  WHEN d_order IS NOT NULL OR _lume_day(y, p.a, p.b) <> _lume_day(y, p.b, p.a) THEN NULL
  ELSE coalesce(_lume_day(y, p.a, p.b), _lume_day(y, p.b, p.a)) END;
-- 1.3.2024, 03/01/2024, 01-03-24
CREATE OR REPLACE MACRO _lume_date_of_numbers(t, d_order) AS list_transform(
  [regexp_extract(t, '^(\d{1,2})(?:(\.) ?|[-/ ])(\d{1,2})(?:\. ?|[-/ ])(\d{4}|\d{2})(?: 00:00(?::00)?)?$', ['a', 'mark', 'b', 'y'])],
  lambda _lume_p: _lume_ordered(_lume_p, _lume_year(_lume_p.y, d_order), d_order))[1];

-- A leading weekday must be the date's.
CREATE OR REPLACE MACRO _lume_on(w, d) AS
  CASE WHEN w = '' OR contains({weekdays}[w], CAST(isodow(d) AS VARCHAR)) THEN d END;
-- 1 March 2024, 1. März 2024, 1er mars 2024, 1 de marzo de 2024, Fri, 01-Mar-2024; March 1st, 2024; 2024 March 1
CREATE OR REPLACE MACRO _lume_date_of_words(t) AS list_transform(
  [regexp_extract(t, '^(?:(\pL+)[.,]*,? )??(?:(\d{1,2})(?:st|nd|rd|th|er|[.oaº°])?[-/ ]?(?:of |de )?(\pL+)\.?,?[-/ ]?(?:de |del )?(\d{4})'
    || '|(\pL+)\.?[-/ ](\d{1,2})(?:st|nd|rd|th)?[,./-]? ?(\d{4})|(\d{4})[-/ ](\pL+)\.?[-/ ](\d{1,2}))$',
    ['w', 'd1', 'm1', 'y1', 'm2', 'd2', 'y2', 'y3', 'm3', 'd3'])],
  lambda _lume_p: _lume_on(_lume_p.w, _lume_day(concat(_lume_p.y1, _lume_p.y2, _lume_p.y3),
    {months}[concat(_lume_p.m1, _lume_p.m2, _lume_p.m3)],
    concat(_lume_p.d1, _lume_p.d2, _lume_p.d3))))[1];

CREATE OR REPLACE MACRO _lume_date(t, d_order) AS coalesce(
  _lume_date_from_year(t), _lume_date_of_numbers(t, d_order), _lume_date_of_words(strip_accents(lower(t))));
CREATE OR REPLACE MACRO parse_date_any(x) AS _lume_date(_lume_text(x), NULL),
  (x, d_order) AS _lume_date(_lume_text(x), d_order);
