//! Pages that PostgreSQL itself wrote are good, and each is known for what it is.

use std::fs;
use std::path::{Path, PathBuf};

use pawang_backup::take::checksum::{PageRules, Verdict, judge};
use pawang_backup::take::relation_file::RelationFile;
use pawang_core::Lsn;
use pawang_testbed::{Cluster, Setup, Stop, versions};

const BLOCK_BYTES: usize = 8192;
const SEGMENT_BLOCKS: u32 = 131_072;

#[tokio::test]
async fn every_page_that_a_server_wrote_is_good() {
    for version in versions() {
        let setup = Setup {
            version: Some(version),
            ..Setup::default()
        };
        let mut cluster = Cluster::start(&setup).await;
        let fill = "CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 9) AS text FROM generate_series(1, 20000) AS g;
            CREATE INDEX ON t (id); CREATE INDEX ON t USING gin (to_tsvector('simple', text));
            CREATE INDEX ON t USING hash (text); CREATE INDEX ON t USING brin (id); CREATE SEQUENCE s;
            CREATE UNLOGGED TABLE u (id int PRIMARY KEY); DELETE FROM t WHERE id % 3 = 0;";
        cluster.sql("postgres", fill).await;
        cluster.sql("postgres", "VACUUM t").await;
        cluster.stop(Stop::Fast).await;
        let (pages, files) = judge_all(cluster.data_directory());
        assert!(
            pages > 2_000 && files > 300,
            "{pages} pages in {files} files"
        );
    }
}

/// Judges every page of every relation; returns how many pages and files there are.
fn judge_all(data: &Path) -> (usize, usize) {
    let rules = PageRules {
        checksums: true,
        start: Lsn(u64::MAX),
    };
    let (mut pages, mut files) = (0, 0);
    for path in ["base", "global"]
        .iter()
        .flat_map(|name| all(&data.join(name)))
    {
        let name = path
            .strip_prefix(data)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let content = fs::read(&path).unwrap();
        let Some(file) = RelationFile::read(name.as_bytes(), None) else {
            assert!(
                !name
                    .rsplit('/')
                    .next()
                    .unwrap()
                    .starts_with(|c: char| c.is_ascii_digit())
            );
            continue;
        };
        assert_eq!(content.len() % BLOCK_BYTES, 0, "{name}");
        files += 1;
        for (place, page) in content.chunks(BLOCK_BYTES).enumerate() {
            let block = file.segment * SEGMENT_BLOCKS + place as u32;
            let verdict = judge(page, block, &rules);
            assert!(
                matches!(verdict, Verdict::Good | Verdict::Zero),
                "{name} {place}: {verdict:?}"
            );
            if verdict == Verdict::Good {
                let elsewhere = judge(page, block + 1, &rules);
                assert!(matches!(elsewhere, Verdict::Corrupt(_)), "{name} {place}");
            }
            pages += 1;
        }
    }
    (pages, files)
}

fn all(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(all(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
