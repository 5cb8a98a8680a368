SELECT h.file_name,
       h.rule_number,
       h.line_number,
       h.type,
       h.database,
       h.user_name,
       h.address,
       h.netmask,
       h.auth_method,
       h.options,
       h.error
  FROM pg_catalog.pg_hba_file_rules() AS h
 ORDER BY h.rule_number, h.line_number
 LIMIT 2000
