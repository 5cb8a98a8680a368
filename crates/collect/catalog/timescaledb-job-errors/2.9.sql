-- Without the message: it quotes rows. From 2.10 on the view shows a role only the jobs of roles that it belongs to.
SELECT e.job_id,
       pg_catalog.count(*) AS failures,
       pg_catalog.max(e.finish_time) FILTER (WHERE pg_catalog.isfinite(e.finish_time)) AS last_failure,
       (pg_catalog.array_agg(e.sqlerrcode ORDER BY e.start_time DESC))[1] AS sqlerrcode
  FROM timescaledb_information.job_errors AS e
 WHERE e.start_time > pg_catalog.now() - '1 day'::interval
 GROUP BY e.job_id
 ORDER BY failures DESC
 LIMIT 1000
