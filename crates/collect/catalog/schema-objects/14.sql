WITH spaces AS MATERIALIZED (
       SELECT n.oid,
              n.nspname,
              n.nspowner
         FROM pg_catalog.pg_namespace AS n
        WHERE n.nspname !~ '^pg_'
          AND n.nspname <> 'information_schema'),
     members AS MATERIALIZED (
       SELECT d.classid,
              d.objid
         FROM pg_catalog.pg_depend AS d
        WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass
          AND d.deptype = 'e'),
     relations AS MATERIALIZED (
       SELECT c.oid,
              c.relkind,
              c.relname,
              c.relowner,
              c.relpersistence,
              c.relispartition,
              c.reloptions,
              c.relrowsecurity,
              c.relam,
              c.relpartbound,
              s.nspname
         FROM pg_catalog.pg_class AS c
         JOIN spaces AS s ON s.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c', 'i', 'I', 'S')
          AND c.relpersistence <> 't'
          AND NOT EXISTS (SELECT
                            FROM members AS m
                           WHERE m.classid = 'pg_catalog.pg_class'::regclass
                             AND m.objid = c.oid)
        ORDER BY c.oid
        LIMIT 10001),
     objects AS (
       SELECT CASE r.relkind
                   WHEN 'r' THEN CASE WHEN r.relispartition THEN 'partition' ELSE 'table' END
                   WHEN 'p' THEN 'partitioned table'
                   WHEN 'f' THEN 'foreign table'
                   WHEN 'v' THEN 'view'
                   WHEN 'm' THEN 'materialized view'
                   ELSE 'composite type'
               END AS object_type,
              r.nspname,
              r.relname::text AS name,
              r.relowner AS owner,
              pg_catalog.concat(
                CASE WHEN r.relpersistence = 'u' THEN 'UNLOGGED ' END,
                '(', (SELECT pg_catalog.string_agg(t.text, ', ')
                        FROM (SELECT pg_catalog.concat(
                                       pg_catalog.quote_ident(a.attname), ' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
                                       CASE WHEN a.attnotnull THEN ' NOT NULL' END,
                                       CASE WHEN a.attidentity <> '' THEN ' IDENTITY'
                                            WHEN NOT a.atthasdef THEN NULL
                                            ELSE (SELECT CASE WHEN a.attgenerated <> ''
                                                              THEN ' GENERATED ' || pg_catalog.left(pg_catalog.md5(f.adbin::text), 8)
                                                              ELSE ' DEFAULT ' || pg_catalog.pg_get_expr(f.adbin, 0)
                                                          END
                                                    FROM pg_catalog.pg_attrdef AS f
                                                   WHERE f.adrelid = a.attrelid
                                                     AND f.adnum = a.attnum)
                                        END) AS text
                                FROM pg_catalog.pg_attribute AS a
                               WHERE a.attrelid = r.oid
                                 AND a.attnum > 0
                                 AND NOT a.attisdropped
                               ORDER BY a.attnum) AS t), ')',
                CASE WHEN r.relispartition THEN ' ' || pg_catalog.pg_get_expr(r.relpartbound, 0) END,
                CASE WHEN r.reloptions IS NOT NULL THEN ' WITH (' || pg_catalog.array_to_string(r.reloptions, ', ') || ')' END,
                CASE WHEN r.relrowsecurity THEN ' ROW SECURITY' END) AS definition,
              CASE r.relkind
                   WHEN 'p' THEN (SELECT pg_catalog.concat(p.partexprs, p.partattrs, p.partstrat)
                                    FROM pg_catalog.pg_partitioned_table AS p
                                   WHERE p.partrelid = r.oid)
                   WHEN 'v' THEN (SELECT w.ev_action::text
                                    FROM pg_catalog.pg_rewrite AS w
                                   WHERE w.ev_class = r.oid
                                     AND w.rulename = '_RETURN')
                   WHEN 'm' THEN (SELECT w.ev_action::text
                                    FROM pg_catalog.pg_rewrite AS w
                                   WHERE w.ev_class = r.oid
                                     AND w.rulename = '_RETURN')
                   ELSE r.relam::text
               END AS hidden
         FROM relations AS r
        WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm', 'c')
        UNION ALL
       SELECT CASE r.relkind WHEN 'i' THEN 'index' ELSE 'partitioned index' END,
              r.nspname,
              r.relname::text,
              r.relowner,
              pg_catalog.concat(
                CASE WHEN i.indisprimary THEN 'PRIMARY KEY ' WHEN i.indisunique THEN 'UNIQUE ' END,
                'ON ', t.relname, ' USING ', m.amname, ' (',
                (SELECT pg_catalog.string_agg(t.text, ', ')
                   FROM (SELECT pg_catalog.quote_ident(a.attname)
                                || CASE WHEN a.attnum > i.indnkeyatts THEN ' INCLUDED' ELSE '' END AS text
                           FROM pg_catalog.pg_attribute AS a
                          WHERE a.attrelid = r.oid
                          ORDER BY a.attnum) AS t), ')',
                CASE WHEN i.indpred IS NOT NULL THEN ' WHERE ' || pg_catalog.left(pg_catalog.md5(i.indpred::text), 8) END,
                CASE WHEN NOT i.indisvalid THEN ' NOT VALID' END,
                CASE WHEN r.reloptions IS NOT NULL THEN ' WITH (' || pg_catalog.array_to_string(r.reloptions, ', ') || ')' END),
              pg_catalog.concat(i.indoption, ' ', i.indclass, ' ', i.indcollation, i.indexprs)
         FROM relations AS r
         JOIN pg_catalog.pg_index AS i ON i.indexrelid = r.oid
         JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
         JOIN pg_catalog.pg_am AS m ON m.oid = r.relam
        WHERE r.relkind IN ('i', 'I')
        UNION ALL
       SELECT 'sequence',
              r.nspname,
              r.relname::text,
              r.relowner,
              pg_catalog.concat(
                pg_catalog.format_type(q.seqtypid, NULL), ' START ', q.seqstart, ' INCREMENT ', q.seqincrement,
                ' MINVALUE ', q.seqmin, ' MAXVALUE ', q.seqmax, CASE WHEN q.seqcycle THEN ' CYCLE' END),
              ''
         FROM relations AS r
         JOIN pg_catalog.pg_sequence AS q ON q.seqrelid = r.oid
        WHERE r.relkind = 'S'
        UNION ALL
       (SELECT 'constraint',
               r.nspname,
               pg_catalog.concat(r.relname, '.', k.conname),
               r.relowner,
               pg_catalog.concat(
                 CASE k.contype WHEN 'c' THEN 'CHECK' WHEN 'f' THEN 'FOREIGN KEY' ELSE 'EXCLUDE' END,
                 ' (', (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY pg_catalog.array_position(k.conkey, a.attnum))
                          FROM pg_catalog.pg_attribute AS a
                         WHERE a.attrelid = k.conrelid
                           AND a.attnum = ANY (k.conkey)), ')',
                 CASE WHEN k.contype = 'f' THEN ' REFERENCES ' || t.relname END,
                 CASE WHEN k.conbin IS NOT NULL THEN ' ' || pg_catalog.left(pg_catalog.md5(k.conbin::text), 8) END,
                 CASE WHEN k.condeferrable THEN ' DEFERRABLE' END,
                 CASE WHEN NOT k.convalidated THEN ' NOT VALID' END),
               pg_catalog.concat(k.confkey, k.confupdtype, k.confdeltype, k.confmatchtype, k.condeferred, k.conexclop)
          FROM pg_catalog.pg_constraint AS k
          JOIN relations AS r ON r.oid = k.conrelid
          LEFT JOIN pg_catalog.pg_class AS t ON t.oid = k.confrelid
         WHERE k.contype IN ('c', 'f', 'x')
         ORDER BY k.oid
         LIMIT 10000)
        UNION ALL
       (SELECT 'trigger',
               r.nspname,
               pg_catalog.concat(r.relname, '.', g.tgname),
               r.relowner,
               pg_catalog.concat('EXECUTE ', p.proname, CASE g.tgenabled WHEN 'D' THEN ' DISABLED' END),
               pg_catalog.concat(g.tgtype, g.tgenabled, g.tgattr, g.tgargs, g.tgqual, g.tgdeferrable, g.tginitdeferred)
          FROM pg_catalog.pg_trigger AS g
          JOIN relations AS r ON r.oid = g.tgrelid
          JOIN pg_catalog.pg_proc AS p ON p.oid = g.tgfoid
         WHERE NOT g.tgisinternal
         ORDER BY g.oid
         LIMIT 5000)
        UNION ALL
       (SELECT 'policy',
               r.nspname,
               pg_catalog.concat(r.relname, '.', y.polname),
               r.relowner,
               pg_catalog.concat(CASE WHEN y.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, ' FOR ', y.polcmd),
               pg_catalog.concat(y.polroles, y.polqual, y.polwithcheck)
          FROM pg_catalog.pg_policy AS y
          JOIN relations AS r ON r.oid = y.polrelid
         ORDER BY y.oid
         LIMIT 5000)
        UNION ALL
       (SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
               s.nspname,
               pg_catalog.concat(p.proname, '(', pg_catalog.pg_get_function_identity_arguments(p.oid), ')'),
               p.proowner,
               pg_catalog.concat(
                 'RETURNS ', CASE WHEN p.proretset THEN 'SETOF ' END, pg_catalog.format_type(p.prorettype, NULL),
                 ' LANGUAGE ', l.lanname,
                 CASE p.provolatile WHEN 'i' THEN ' IMMUTABLE' WHEN 's' THEN ' STABLE' END,
                 CASE WHEN p.prosecdef THEN ' SECURITY DEFINER' END,
                 CASE WHEN p.proconfig IS NOT NULL THEN ' SET ' || pg_catalog.array_to_string(p.proconfig, ', ') END,
                 ' BODY ', pg_catalog.left(pg_catalog.md5(pg_catalog.concat(p.prosrc, p.probin, p.prosqlbody)), 8)),
               pg_catalog.concat(p.proargdefaults, p.proisstrict, p.proleakproof, p.proparallel, p.procost, p.prorows)
          FROM pg_catalog.pg_proc AS p
          JOIN spaces AS s ON s.oid = p.pronamespace
          JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
         WHERE NOT EXISTS (SELECT
                             FROM members AS m
                            WHERE m.classid = 'pg_catalog.pg_proc'::regclass
                              AND m.objid = p.oid)
         ORDER BY p.oid
         LIMIT 5000)
        UNION ALL
       (SELECT CASE y.typtype WHEN 'e' THEN 'enum' ELSE 'domain' END,
               s.nspname,
               y.typname::text,
               y.typowner,
               CASE y.typtype
                    WHEN 'e' THEN (SELECT pg_catalog.string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder)
                                     FROM pg_catalog.pg_enum AS e
                                    WHERE e.enumtypid = y.oid)
                    ELSE pg_catalog.concat(
                           pg_catalog.format_type(y.typbasetype, y.typtypmod),
                           CASE WHEN y.typnotnull THEN ' NOT NULL' END,
                           (SELECT pg_catalog.string_agg(' CHECK ' || pg_catalog.left(pg_catalog.md5(k.conbin::text), 8), '' ORDER BY k.conname)
                              FROM pg_catalog.pg_constraint AS k
                             WHERE k.contypid = y.oid
                               AND k.contype = 'c'))
                END,
               pg_catalog.concat(y.typdefault)
          FROM pg_catalog.pg_type AS y
          JOIN spaces AS s ON s.oid = y.typnamespace
         WHERE y.typtype IN ('e', 'd')
           AND NOT EXISTS (SELECT
                             FROM members AS m
                            WHERE m.classid = 'pg_catalog.pg_type'::regclass
                              AND m.objid = y.oid)
         ORDER BY y.oid
         LIMIT 2000)
        UNION ALL
       (SELECT 'schema',
               s.nspname,
               '',
               s.nspowner,
               '',
               ''
          FROM spaces AS s
         ORDER BY s.oid
         LIMIT 2000)
        UNION ALL
       SELECT 'extension',
              n.nspname,
              x.extname::text,
              x.extowner,
              'VERSION ' || x.extversion,
              ''
         FROM pg_catalog.pg_extension AS x
         JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace
        UNION ALL
       SELECT 'not listed',
              '',
              '',
              NULL,
              'more than 10,000 relations',
              ''
        WHERE (SELECT pg_catalog.count(*) FROM relations AS r) > 10000)
SELECT o.object_type,
       o.nspname AS schemaname,
       o.name,
       CASE WHEN o.owner IS NOT NULL THEN pg_catalog.pg_get_userbyid(o.owner)::text END AS owner,
       pg_catalog.left(o.definition, 1000) AS definition,
       pg_catalog.left(pg_catalog.md5(pg_catalog.concat(o.definition, ' ', o.hidden)), 16) AS definition_hash
  FROM objects AS o
