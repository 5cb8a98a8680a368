DECLARE
    made pg_catalog.regclass := {made};
    line pg_catalog.text;
BEGIN
    EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO %I', made,
        (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class AS c WHERE c.oid = {parent}));
    FOR line IN
        WITH n AS (SELECT c.* FROM pg_catalog.pg_class AS c WHERE c.oid = made),
            m AS (SELECT c.* FROM pg_catalog.pg_class AS c WHERE c.oid = {model}),
            d AS (SELECT b.dattablespace AS oid FROM pg_catalog.pg_database AS b WHERE b.datname = pg_catalog.current_database()),
            was AS (SELECT DISTINCT a.grantee
                FROM n, pg_catalog.aclexplode(COALESCE(n.relacl, pg_catalog.acldefault('r', n.relowner))) AS a),
            rights AS (SELECT NULL::pg_catalog.name AS attname, a.* FROM m,
                    pg_catalog.aclexplode(COALESCE(m.relacl, pg_catalog.acldefault('r', m.relowner))) AS a
                UNION ALL SELECT t.attname, a.* FROM pg_catalog.pg_attribute AS t, pg_catalog.aclexplode(t.attacl) AS a
                WHERE t.attrelid = {model} AND t.attnum > 0 AND NOT t.attisdropped),
            statements (step, statement) AS (
                SELECT 1, pg_catalog.format('ALTER TABLE %s SET TABLESPACE %I', made, s.spcname)
                FROM n, m, d, pg_catalog.pg_class AS p, pg_catalog.pg_tablespace AS s
                WHERE p.oid = {parent} AND s.oid = COALESCE(NULLIF(p.reltablespace, 0), NULLIF(m.reltablespace, 0), d.oid)
                    AND s.oid <> COALESCE(NULLIF(n.reltablespace, 0), d.oid)
                UNION ALL
                SELECT 2, pg_catalog.format('ALTER TABLE %s SET (%s%s = %L)', made, o.of, o.option_name, o.option_value)
                FROM (SELECT '' AS of, x.* FROM m, pg_catalog.pg_options_to_table(m.reloptions) AS x WHERE m.relkind = 'r'
                    UNION ALL SELECT 'toast.', x.* FROM m, n, pg_catalog.pg_class AS t,
                        pg_catalog.pg_options_to_table(t.reloptions) AS x
                    WHERE t.oid = m.reltoastrelid AND n.reltoastrelid <> 0) AS o
                UNION ALL
                SELECT 3, pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', made, t.attname, t.attstattarget)
                FROM pg_catalog.pg_attribute AS t
                WHERE t.attrelid = {model} AND t.attnum > 0 AND NOT t.attisdropped AND t.attstattarget >= 0
                UNION ALL
                SELECT 3, pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET (%s = %L)', made, t.attname, o.option_name, o.option_value)
                FROM pg_catalog.pg_attribute AS t, pg_catalog.pg_options_to_table(t.attoptions) AS o
                -- Servers keep notes of their own among the options of a column.
                WHERE t.attrelid = {model} AND t.attnum > 0 AND NOT t.attisdropped
                    AND o.option_name IN ('n_distinct', 'n_distinct_inherited')
                UNION ALL
                SELECT 4, pg_catalog.format('REVOKE ALL ON TABLE %s FROM %s', made,
                    CASE was.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(was.grantee)) END)
                FROM was
                UNION ALL
                SELECT 5, pg_catalog.format('GRANT %s%s ON TABLE %s TO %s%s', r.privilege_type,
                    pg_catalog.format(CASE WHEN r.attname IS NULL THEN '' ELSE ' (%I)' END, r.attname), made,
                    CASE r.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(
                        CASE r.grantee WHEN m.relowner THEN n.relowner ELSE r.grantee END)) END,
                    CASE WHEN r.is_grantable AND r.grantee <> m.relowner THEN ' WITH GRANT OPTION' END)
                FROM n, m, rights AS r
                UNION ALL
                SELECT 6, pg_catalog.format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', y.polname, made,
                    CASE WHEN y.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                    CASE y.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                        ELSE 'ALL' END,
                    (SELECT pg_catalog.string_agg(CASE r.oid WHEN 0 THEN 'PUBLIC'
                        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(r.oid)) END, ', ')
                    FROM pg_catalog.unnest(y.polroles) AS r (oid)),
                    ' USING (' || pg_catalog.pg_get_expr(y.polqual, y.polrelid) || ')',
                    ' WITH CHECK (' || pg_catalog.pg_get_expr(y.polwithcheck, y.polrelid) || ')')
                FROM pg_catalog.pg_policy AS y
                WHERE y.polrelid = {model}
                UNION ALL
                SELECT 7, pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made) FROM m WHERE m.relrowsecurity
                UNION ALL
                SELECT 7, pg_catalog.format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', made) FROM m WHERE m.relforcerowsecurity)
        SELECT s.statement FROM statements AS s ORDER BY s.step, s.statement
    LOOP
        BEGIN
            EXECUTE line;
        EXCEPTION WHEN undefined_table OR undefined_column THEN
            RAISE EXCEPTION 'what % has does not fit a new partition: %: %', {model}::pg_catalog.regclass, SQLERRM, line;
        END;
    END LOOP;
END
