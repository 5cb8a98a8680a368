SELECT g.rolname AS role,
       m.rolname AS member,
       coalesce(o.rolname::text, a.grantor::text) AS grantor,
       g.rolsuper AS role_superuser,
       m.rolsuper AS member_superuser,
       m.rolcanlogin AS member_can_login,
       a.admin_option
  FROM pg_catalog.pg_auth_members AS a
  JOIN pg_catalog.pg_roles AS g ON g.oid = a.roleid
  JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = a.grantor
 WHERE g.rolsuper
    OR g.rolname ~ '^pg_'
 ORDER BY g.rolsuper DESC, a.roleid, a.member
 LIMIT 10000
