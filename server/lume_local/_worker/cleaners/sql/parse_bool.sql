CREATE OR REPLACE MACRO _lume_bool(t) AS CASE
  WHEN list_position(['true', 't', 'yes', 'y', '1', 'on', 'x', 'ja', 'j', 'wahr', 'oui', 'vrai', 'si', 'sí', 'sì',
    'vero', 'verdadero', 'sim', 'verdadeiro', 'tak', 'sand', 'kyllä', 'ano', '✓', '✔', '☑'], t) >= 1 THEN true
  WHEN list_position(['false', 'f', 'no', 'n', '0', 'off', 'nein', 'falsch', 'non', 'faux', 'falso', 'não', 'nao',
    'nee', 'nie', 'nej', 'nei', 'falsk', 'ei', 'ne', '✗', '✘', '☐'], t) >= 1 THEN false END;
CREATE OR REPLACE MACRO parse_bool(x) AS _lume_bool(lower(_lume_text(x)));
