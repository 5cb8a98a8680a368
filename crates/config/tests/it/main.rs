//! scratch
#[test]
fn scratch() {
    println!("{}", pawang_config::reference());
    println!(
        "{}",
        serde_json::to_string_pretty(&pawang_config::schema()).unwrap()
    );
    match pawang_config::parse(pawang_config::example(), "pawang.example.toml") {
        Ok(c) => println!("{:#?}", c.warnings),
        Err(e) => println!("{e}"),
    }
    for text in [
        "[instance]\nname = 'a'\n",
        "instance = 3\n[chek]\n",
        "[[instance]]\nexpected_standby = ['a']\n\n[[instance]]\nname = 3\nurl = \"postgres://u:pw@h/d\"\npassword='geheim'\nexpected_standbys='x'\n",
        "[[instance]]\nname = 'a'\nbackup = [{kind = 'direktory'}, {kind = 'sql'}, {path = 'x'}, {kind='pgbackrest', path=1, stanza='m', q=1}, 3]\n",
        "[check.x]\nwarning = '5 parsecs'\ncritical = nan\nfloors = {a = true, b = -9223372036854775809}\n[defaults]\nconcurrency = 0\nstatement_timeout = '3 GB'\n",
        "a = \nb = 'x\n[check.x]\nwarnin = 3\n",
        "[check.x\nwarning = 3\n[[instance]]\nname=3\n",
        "[[instance]]\nname='a'\n[[instance]]\nname='a'\n[[user_check]]\nid='A b'\ntitle=''\nsql=''\nunit='precent'\nwarning=2\ncritical=1\n",
        "\u{feff}[[instance]]\nname='a'\nname='b'\n",
        "state_directory = 1979-05-27\nurl='x'\n",
    ] {
        println!("=================\n{text}");
        match pawang_config::parse(text, "pawang.toml") {
            Ok(c) => println!("OK {:?}", c),
            Err(e) => println!("{e}"),
        }
    }
}
