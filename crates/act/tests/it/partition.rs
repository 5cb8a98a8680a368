//! A partition made ahead is like its newest sibling in everything that LIKE does not bring, and a detach tells how it is undone.

use pawang_core::plan::{State, Task};
use pawang_testbed::versions;

use crate::world::{DATABASE, How, Scene, target};

/// A table whose partitions have grants, row security, parameters, a replica identity and a tablespace of their own.
const TABLES: &str = "CREATE ROLE \"Etl\" LOGIN; CREATE ROLE \"Lap'or\"; CREATE ROLE lain; CREATE ROLE pawang LOGIN IN ROLE \"Etl\";
    CREATE SCHEMA dw; GRANT ALL ON SCHEMA dw TO \"Etl\", pawang; GRANT CREATE ON TABLESPACE \"Ruang 2\" TO pawang;
    CREATE TABLE dw.\"Fakta\" (\"Tgl\" date NOT NULL, v int, cabang text, PRIMARY KEY (\"Tgl\", v)) PARTITION BY RANGE (\"Tgl\");
    CREATE UNIQUE INDEX kunci ON dw.\"Fakta\" (v, \"Tgl\");
    CREATE TABLE dw.fakta_lama PARTITION OF dw.\"Fakta\" FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE TABLE dw.\"F 2025\" PARTITION OF dw.\"Fakta\" FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
        WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_enabled = off);
    ALTER TABLE dw.\"F 2025\" SET TABLESPACE \"Ruang 2\";
    ALTER INDEX dw.\"F 2025_pkey\" SET TABLESPACE \"Ruang 2\";
    ALTER TABLE dw.\"F 2025\" REPLICA IDENTITY USING INDEX \"F 2025_v_Tgl_idx\";
    ALTER TABLE dw.\"F 2025\" ALTER v SET STATISTICS 500, ALTER v SET (n_distinct = -0.5);
    GRANT SELECT ON dw.\"F 2025\" TO \"Lap'or\" WITH GRANT OPTION; GRANT INSERT, UPDATE ON dw.\"F 2025\" TO lain;
    GRANT SELECT (v) ON dw.\"F 2025\" TO PUBLIC;
    CREATE POLICY \"satu cabang\" ON dw.\"F 2025\" AS RESTRICTIVE FOR SELECT TO \"Lap'or\", lain USING (cabang = current_user);
    CREATE POLICY tulis ON dw.\"F 2025\" FOR INSERT WITH CHECK (v > 0);
    ALTER TABLE dw.\"F 2025\" ENABLE ROW LEVEL SECURITY; ALTER TABLE dw.\"F 2025\" FORCE ROW LEVEL SECURITY;
    ALTER TABLE dw.\"Fakta\" OWNER TO \"Etl\"; ALTER TABLE dw.\"F 2025\" OWNER TO \"Etl\"; ALTER TABLE dw.fakta_lama OWNER TO \"Etl\";
    GRANT SELECT ON dw.\"Fakta\" TO lain;
    ALTER DEFAULT PRIVILEGES FOR ROLE pawang GRANT ALL ON TABLES TO PUBLIC;
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO lain;
    CREATE PUBLICATION satu_satu FOR TABLE dw.\"F 2025\"";

/// Everything of a partition that its sibling has too, as one text.
fn looks(name: &str) -> String {
    format!(
        "SELECT pg_catalog.jsonb_build_object(
    'owner', c.relowner::regrole, 'options', (SELECT jsonb_agg(o ORDER BY o) FROM unnest(c.reloptions) o), 'identity', c.relreplident, 'row security', c.relrowsecurity,
    'forced', c.relforcerowsecurity, 'tablespace', (SELECT spcname FROM pg_tablespace s WHERE s.oid = c.reltablespace),
    'toast', (SELECT t.reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid),
    'rights', (SELECT jsonb_agg(concat_ws(' ', a.grantee::regrole, a.privilege_type, a.is_grantable)
        ORDER BY a.grantee::regrole::text, a.privilege_type) FROM aclexplode(c.relacl) a),
    'columns', (SELECT jsonb_agg(concat_ws(' ', attname, attacl, attstattarget, (SELECT option_value FROM pg_options_to_table(attoptions) WHERE option_name = 'n_distinct')) ORDER BY attnum)
        FROM pg_attribute t WHERE t.attrelid = c.oid AND attnum > 0),
    'policies', (SELECT jsonb_agg(concat_ws(' ', polname, polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid),
        pg_get_expr(polwithcheck, polrelid)) ORDER BY polname) FROM pg_policy WHERE polrelid = c.oid),
    'indexes', (SELECT jsonb_agg(concat_ws(' ', p.inhparent::regclass, i.indisreplident, i.indisprimary,
            (SELECT spcname FROM pg_tablespace s WHERE s.oid = x.reltablespace)) ORDER BY p.inhparent)
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_inherits p ON p.inhrelid = x.oid WHERE i.indrelid = c.oid))
FROM pg_class c WHERE c.relname = '{name}'"
    )
}

async fn scene(version: pawang_testbed::Version) -> Scene {
    let scene = Scene::new(version).await;
    let folder = scene.cluster.folder("ruang");
    let space = format!(
        "CREATE TABLESPACE \"Ruang 2\" LOCATION '{}'",
        folder.display()
    );
    scene.sql(&space).await;
    scene.sql(TABLES).await;
    scene
}

async fn create(scene: &Scene, year: u32) -> Task {
    Task::CreatePartition {
        parent: scene.relation("dw", "Fakta").await,
        name: format!("F {year}"),
        from: format!("{year}-01-01"),
        to: format!("{}-01-01", year + 1),
        like: Some(scene.relation("dw", "F 2025").await),
    }
}

#[tokio::test]
async fn a_partition_is_like_its_newest_sibling() {
    for version in versions() {
        let mut scene = scene(version).await;
        let wanted = scene.sql(&looks("F 2025")).await;
        assert!(
            wanted.contains("satu cabang") && wanted.contains("Ruang 2"),
            "{wanted}"
        );
        let done = scene.one(create(&scene, 2026).await).await;
        assert_eq!(done.state, State::Done, "{version}: {done:?}");
        assert_eq!(scene.sql(&looks("F 2026")).await, wanted, "{version}");
        // The same by a role that only stands in the role of the owner.
        scene.target = target(&scene.cluster.url_as("pawang", DATABASE));
        let plan = scene.plan(vec![create(&scene, 2027).await]).await;
        let told = &plan.actions[0].evidence;
        assert!(
            told.iter()
                .any(|(name, what)| name == "publication" && what.contains("satu_satu")),
            "{told:?}"
        );
        let outcome = scene.apply(&plan).await;
        assert!(outcome.good(), "{version}: {outcome:?}");
        assert_eq!(scene.sql(&looks("F 2027")).await, wanted, "{version}");
        scene
            .sql("REVOKE CREATE ON TABLESPACE \"Ruang 2\" FROM pawang")
            .await;
        let done = scene.one(create(&scene, 2028).await).await;
        assert_eq!(done.state, State::Refused, "{version}: {done:?}");
        let grant = done.hint.unwrap();
        assert_eq!(grant, "GRANT CREATE ON TABLESPACE \"Ruang 2\" TO pawang;");
        // Refused or failed half-way, nothing is left: it is one transaction.
        scene.sql(&grant).await;
        scene.sql("REVOKE CREATE ON SCHEMA dw FROM \"Etl\"").await;
        let done = scene.one(create(&scene, 2028).await).await;
        assert_eq!(done.state, State::Refused, "{version}: {done:?}");
        scene.sql(&done.hint.unwrap()).await;
        let done = scene.one(create(&scene, 2028).await).await;
        assert_eq!(done.state, State::Done, "{version}: {done:?}");
    }
}

#[tokio::test]
async fn a_policy_that_only_fits_its_sibling_leaves_nothing_half_made() {
    let scene = scene(versions()[0]).await;
    scene
        .sql("CREATE POLICY aneh ON dw.\"F 2025\" FOR SELECT USING (EXISTS (SELECT FROM pg_roles r WHERE r.rolname = cabang))")
        .await;
    let done = scene.one(create(&scene, 2026).await).await;
    assert_eq!(done.state, State::Failed, "{done:?}");
    assert!(done.detail.contains("CREATE POLICY aneh"), "{done:?}");
    assert_eq!(
        scene
            .sql("SELECT to_regclass('dw.\"F 2026\"') IS NULL")
            .await,
        "t"
    );
    // Gone meanwhile, the sibling is not copied blindly.
    let plan = scene.plan(vec![create(&scene, 2026).await]).await;
    scene
        .sql("ALTER TABLE dw.\"Fakta\" DETACH PARTITION dw.\"F 2025\"")
        .await;
    let outcome = scene.apply(&plan).await;
    assert_eq!(outcome.actions[0].state, State::Stale, "{outcome:?}");
}

#[tokio::test]
async fn the_undo_of_a_detach_works_as_it_stands() {
    for version in versions() {
        let scene = scene(version).await;
        let detach = Task::DetachPartition {
            parent: scene.relation("dw", "Fakta").await,
            partition: scene.relation("dw", "fakta_lama").await,
            concurrently: true,
        };
        let plan = scene.plan(vec![detach]).await;
        let undo = &plan.actions[0].undo;
        assert_eq!(
            undo,
            "ALTER TABLE \"dw\".\"Fakta\" ATTACH PARTITION \"dw\".\"fakta_lama\" FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');"
        );
        let outcome = scene.try_apply(&plan, How::default()).await.unwrap();
        assert!(outcome.good(), "{version}: {outcome:?}");
        scene.sql(undo).await;
        let attached = "SELECT relispartition FROM pg_class WHERE relname = 'fakta_lama'";
        assert_eq!(scene.sql(attached).await, "t", "{version}");
    }
}
