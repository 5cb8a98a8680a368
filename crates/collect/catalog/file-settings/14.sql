SELECT f.sourcefile,
       f.sourceline,
       f.seqno,
       f.name,
       f.setting,
       f.applied,
       f.error
  FROM pg_catalog.pg_show_all_file_settings() AS f
 ORDER BY f.seqno
 LIMIT 5000
