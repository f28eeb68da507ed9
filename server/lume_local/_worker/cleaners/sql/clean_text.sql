CREATE OR REPLACE MACRO clean_text(x) AS _lume_text(x);
