CREATE OR REPLACE MACRO _lume_country_key(t) AS regexp_replace(trim(regexp_replace(regexp_replace(
  strip_accents(lower(t)), '[^\pL\pN\pM ]', ' ', 'g'), ' +', ' ', 'g')), '^the ', '');
CREATE OR REPLACE MACRO country_code(x) AS
  {countries}[_lume_country_key(_lume_text(x))];
