DECLARE
    made pg_catalog.regclass := {made};
    line pg_catalog.text;
BEGIN
    FOR line IN
        WITH m AS (SELECT c.* FROM pg_catalog.pg_class AS c WHERE c.oid = {model}),
            d AS (SELECT b.dattablespace AS oid FROM pg_catalog.pg_database AS b WHERE b.datname = pg_catalog.current_database()),
            pairs AS (SELECT x.indexrelid AS model, x.indisreplident, y.indexrelid AS made
                FROM pg_catalog.pg_index AS x
                LEFT JOIN pg_catalog.pg_inherits AS xi ON xi.inhrelid = x.indexrelid AND {model} <> {parent}
                JOIN pg_catalog.pg_inherits AS yi ON yi.inhparent = COALESCE(xi.inhparent, x.indexrelid)
                JOIN pg_catalog.pg_index AS y ON y.indexrelid = yi.inhrelid AND y.indrelid = made
                WHERE x.indrelid = {model})
        SELECT pg_catalog.format('ALTER INDEX %s SET TABLESPACE %I', p.made::pg_catalog.regclass, s.spcname)
        FROM d, pairs AS p
        JOIN pg_catalog.pg_class AS x ON x.oid = p.model
        JOIN pg_catalog.pg_class AS y ON y.oid = p.made
        JOIN pg_catalog.pg_tablespace AS s ON s.oid = x.reltablespace
        WHERE s.oid <> COALESCE(NULLIF(y.reltablespace, 0), d.oid)
        UNION ALL
        -- Without a counterpart of the index, updates and deletes are still replicated by the whole row.
        SELECT pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY %s', made,
            CASE m.relreplident WHEN 'n' THEN 'NOTHING' WHEN 'i' THEN COALESCE(
                (SELECT 'USING INDEX ' || pg_catalog.quote_ident(c.relname)
                FROM pairs AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.made WHERE p.indisreplident), 'FULL')
            ELSE 'FULL' END)
        FROM m WHERE m.relreplident <> 'd'
    LOOP
        EXECUTE line;
    END LOOP;
END
