CREATE OR REPLACE MACRO nullif_missing(x) AS
  CASE WHEN regexp_full_match(lower(_lume_text(x)),
    '[-–—.?*_/ ]+|#?n[./]?a\.?|#?n/a n/a|#null!?|[(<\[]?(null|none|nil|nan|blank|empty|missing)[)>\]]?|unknown|not available|not applicable|k\. ?a\.|unbekannt')
  THEN NULL ELSE _lume_text(x) END;
