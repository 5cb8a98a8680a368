SELECT s.pubname,
       s.puballtables,
       s.pubinsert,
       s.pubupdate,
       s.pubdelete,
       s.pubtruncate,
       s.pubviaroot,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = s.oid) AS tables,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_publication_namespace AS n WHERE n.pnpubid = s.oid) AS schemas,
       (SELECT pg_catalog.count(*)
          FROM pg_catalog.pg_publication_rel AS r
          JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
         WHERE r.prpubid = s.oid AND (s.pubupdate OR s.pubdelete) AND c.relkind = 'r'
           AND (c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary))) AS tables_without_identity,
       (SELECT pg_catalog.min(pg_catalog.format('%I.%I', e.nspname, c.relname))
          FROM pg_catalog.pg_publication_rel AS r
          JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
          JOIN pg_catalog.pg_namespace AS e ON e.oid = c.relnamespace
         WHERE r.prpubid = s.oid AND (s.pubupdate OR s.pubdelete) AND c.relkind = 'r'
           AND (c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary))) AS example_without_identity
  FROM pg_catalog.pg_publication AS s
 ORDER BY s.pubname
 LIMIT 1000
