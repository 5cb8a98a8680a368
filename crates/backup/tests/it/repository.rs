//! A repository in a directory keeps what it was given, once.

use pawang_backup::repository::Created;
use pawang_backup::{Error, Repository};

#[tokio::test]
async fn an_object_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::directory(folder.path()).unwrap();
    let path = "cluster/1-17/hold/x.json";
    let created = repository.create(path, "one".into()).await.unwrap();
    assert_eq!(created, Created::New);
    let again = repository.create(path, "one".into()).await.unwrap();
    assert_eq!(again, Created::Same);
    let other = repository.create(path, "two".into()).await;
    assert!(matches!(other, Err(Error::Exists { .. })), "{other:?}");
    assert_eq!(repository.read(path).await.unwrap().unwrap(), "one");
    assert_eq!(repository.read("cluster/nothing").await.unwrap(), None);
    let listed = repository.list("cluster").await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].path.as_str(), listed[0].bytes), (path, 3));
    repository.delete(path).await.unwrap();
    repository.delete(path).await.unwrap();
    assert_eq!(repository.list("cluster").await.unwrap(), []);
}
