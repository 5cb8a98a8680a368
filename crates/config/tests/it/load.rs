//! Files: what cannot be read says so, and relative paths start at the file's folder.

use std::path::Path;

use pawang_config::{BackupSource, load};

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("pawang.toml");
    assert_eq!(
        load(&missing).expect_err("there is none").to_string(),
        format!(
            "error: {}: could not read the file: No such file or directory (os error 2)\nhint: pawang init writes a first one",
            missing.display()
        )
    );
    assert_eq!(
        load(folder.path()).expect_err("it is a folder").to_string(),
        format!(
            "error: {}: could not read the file: Is a directory (os error 21)",
            folder.path().display()
        )
    );
    // An endless file must not be read to its end.
    let endless = load(Path::new("/dev/zero")).expect_err("it is endless");
    assert_eq!(
        endless.to_string(),
        "error: /dev/zero: the file is larger than 1048576 bytes"
    );
}

#[test]
fn a_file_that_is_not_utf8_says_where() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pawang.toml");
    std::fs::write(&file, b"# first\nstate_directory = \"caf\xe9\"\n").expect("it is writable");
    assert_eq!(
        load(&file).expect_err("Latin-1").to_string(),
        format!(
            "error: {}:2:23: the text is not UTF-8\ndetail: the line is\n2 | state_directory = \"caf\u{fffd}\"\n  |                       ^\nhint: save the file as UTF-8",
            file.display()
        )
    );
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pawang.toml");
    let text = "state_directory = 'state'\n[collectors]\ndirectory = '/c'\n[[instance]]\nname = 'a'\npassword_file = 'secret'\n\
        backup = [{ kind = 'directory', path = 'b' }]\n\
        [serve]\ndata_directory = 'data'\ntls = { certificate = 'c.crt', key = '/k.key' }\n\
        [[serve.remote_write]]\nname = 'r'\nurl = 'http://r'\nusername = 'u'\npassword_file = 'p'\n\
        [[serve.remote_write]]\nname = 't'\nurl = 'http://t'\ntoken_file = 't'\n";
    std::fs::write(&file, text).expect("it is writable");
    let config = load(&file).expect("it is well formed");
    assert_eq!(config.state_directory, Some(folder.path().join("state")));
    assert_eq!(
        config.collectors.directory.as_deref(),
        Some(Path::new("/c"))
    );
    assert_eq!(
        config.instances[0].password_file,
        Some(folder.path().join("secret"))
    );
    let serve = &config.serve;
    let tls = serve.tls.as_ref().expect("it is set");
    let here = |name: &str| Some(folder.path().join(name));
    assert_eq!(serve.data_directory, here("data"));
    assert_eq!(Some(&tls.certificate), here("c.crt").as_ref());
    assert_eq!(tls.key, Path::new("/k.key"));
    assert_eq!(serve.remote_write[0].password_file, here("p"));
    assert_eq!(serve.remote_write[1].token_file, here("t"));
    let BackupSource::Directory { path, .. } = &config.instances[0].backup[0] else {
        panic!("it is a directory");
    };
    assert_eq!(*path, folder.path().join("b"));
}
