//! The settings from outside: each kind of mistake is found, on its line, with what to do.

mod money;
mod service;

use std::path::Path;

use tollhouse::catalog::PathPattern;
use tollhouse::config::{Entrance, Environment, Flags, Problems, ProxyProtocol, Settings, Source, template};
use tollhouse::l402::UnknownCaveats;
use tollhouse::node::config::{ChainSource, GossipSource, RpcAuth};
use tollhouse::request::ForwardedBy;
use tollhouse::throttle::Limits;

const HEAD: &str = "network = \"regtest\"\n[chain]\nsource = \"esplora\"\nurl = \"http://127.0.0.1:3002/\"\n";
const SERVICE: &str = "[[service]]\nname = \"a\"\nprice = \"5 sat\"\nupstream = \"http://127.0.0.1:9000\"\n";

fn home() -> Environment {
    Environment::from_iter([("HOME", "/home/alice"), ("UPSTREAM_KEY", "sesame")])
}

fn read(text: &str) -> Result<Settings, Problems> {
    Settings::read(Path::new("/etc/t.toml"), text, &Flags::default(), &home())
}

/// Asserts that `text` has exactly one problem, on `line`, with `setting`, whose report holds `says`.
#[track_caller]
fn wrong(text: &str, line: usize, setting: &str, says: &str) {
    let problems = read(text).expect_err("the text is wrong");
    let [problem] = problems.0.as_slice() else { panic!("not one problem:\n{problems}\nin\n{text}") };
    assert_eq!(problem.source, Source::File(line), "{problem}\nin\n{text}");
    assert_eq!(problem.setting, setting, "{problem}");
    let report = problem.to_string();
    assert!(report.starts_with(&format!("/etc/t.toml:{line}: ")), "{report}");
    assert!(report.contains(says), "{report:?} does not say {says:?}");
}

#[test]
fn every_mistake_in_the_settings_names_its_line() {
    let top = |line: &str| format!("{line}\n{HEAD}");
    wrong(&top("netwok = 1"), 1, "netwok", "Did you mean `network`?");
    wrong(&top("sevrice = 1"), 1, "sevrice", "Did you mean `service`?");
    wrong(&top("zebra = 1"), 1, "zebra", "Known here: admin, alarms, backup, chain");
    wrong(&top("log = \"loud\""), 1, "log", "not a log filter");
    wrong(&top("log = 5"), 1, "log", "not a log filter");
    wrong(&top("log = true"), 1, "log", "expected a string, found a boolean");
    wrong(&top("data_dir = \"\""), 1, "data_dir", "it is empty");
    wrong(&top("gateway = 5"), 1, "gateway", "Write a line [gateway]");
    wrong(&top("service = 5"), 1, "service", "Begin each with a line [[service]]");
    wrong(&top("a = \n"), 1, "", "this is not TOML");
    wrong(&top("log = \"info\"\nlog = \"info\""), 2, "", "duplicate key");

    let network = |value: &str| HEAD.replacen("\"regtest\"", value, 1);
    wrong(&network("\"regtset\""), 1, "network", "Did you mean \"regtest\"?");
    wrong(&network("[\"regtest\", \"signet\"]"), 1, "network", "found a list");

    let below = |lines: &str| format!("{HEAD}{lines}\n");
    wrong(&below("[gateway]\nlisten = \"8402\""), 6, "gateway.listen", "not an address to listen on");
    wrong(&below("[gateway]\n\nlisen = \"0.0.0.0:1\""), 7, "gateway.lisen", "Did you mean `listen`?");
    wrong(&below("[gateway]\npublic_url = \"api.example.com\""), 6, "gateway.public_url", "not a URL");
    wrong(&below("[gateway]\npublic_url = \"https://u:p@a\""), 6, "gateway.public_url", "user or password");
    wrong(
        &below("[gateway]\nunknown_caveats = \"allow\""),
        6,
        "gateway.unknown_caveats",
        "not what to do with them",
    );
    let proxies = "gateway.trusted_proxies";
    wrong(&below("[gateway]\ntrusted_proxies = [\"localhost\"]"), 6, proxies, "not a network");
    wrong(&below("[gateway]\ntrusted_proxies = \"10.0.0.1/8\""), 6, proxies, "did you mean \"10.0.0.0/8\"?");
    wrong(&below("[gateway]\nforwarded_by = \"via\""), 6, "gateway.forwarded_by", "not a header");
    let protocol = "gateway.proxy_protocol";
    wrong(&below("[gateway]\nproxy_protocol = \"v2\""), 6, protocol, "nobody's header would be believed");
    wrong(
        &below("[gateway]\ntrusted_proxies = \"::1\"\nproxy_protocol = \"v3\""),
        7,
        protocol,
        "not a PROXY protocol",
    );
    let challenges = "gateway.limits.challenges";
    wrong(&below("[gateway.limits]\nchallenges = \"many\""), 6, challenges, "is not a rate");
    wrong(
        &below("[gateway.limits]\nchalenges = \"off\""),
        6,
        "gateway.limits.chalenges",
        "Did you mean `challenges`?",
    );
    let tls = |lines: &str| below(&format!("[gateway.tls]\n{lines}"));
    wrong(
        &tls("cert = \"none.pem\"\nkey = \"none.key\""),
        6,
        "gateway.tls.cert",
        "/etc/none.pem cannot be read",
    );
    wrong(&tls("cert = \"none.pem\""), 6, "gateway.tls.key", "it is missing");
    wrong(&tls("key = \"none.pem\""), 6, "gateway.tls.cert", "it is missing");
    wrong(&tls("crt = \"none.pem\""), 6, "gateway.tls.crt", "Did you mean `cert`?");
    wrong(&below("[admin]\nlisten = \"0.0.0.0:8402\""), 6, "admin.listen", "the gateway's listener too");
    wrong(
        &below("[admin]\nallowed_hosts = [\n\"a\",\n\"b:5\"]"),
        8,
        "admin.allowed_hosts",
        "leave out the port",
    );
    wrong(
        &below("[admin]\nallowed_hosts = [5]"),
        6,
        "admin.allowed_hosts",
        "expected a string, found an integer",
    );
    wrong(&below("[lightning]\nlisten = [\"x\"]"), 6, "lightning.listen", "not an address");
    let alias = format!("[lightning]\nalias = \"{}\"", "a".repeat(33));
    wrong(&below(&alias), 6, "lightning.alias", "at most 32 bytes");
    let setting = "lightning.trusted_peers_no_reserve";
    wrong(&below("[lightning]\ntrusted_peers_no_reserve = [\"02\"]"), 6, setting, "66 hexadecimal digits");
    wrong(&below("[gossip]\nsource = \"rapid\""), 6, "gossip.source", "Use one of \"p2p\", \"rapid_sync\"");
    wrong(&below("[gossip]\nsource = \"rapid_sync\""), 5, "gossip.url", "where is the snapshot server?");
    wrong(&below("[nowhere]\na = 5"), 5, "nowhere", "there is no such section");

    let chain = |lines: &str| format!("network = \"regtest\"\n[chain]\n{lines}\n");
    wrong(&chain(""), 2, "chain.source", "it is missing");
    let kinds = "Use one of \"bitcoind\", \"esplora\", \"electrum\"";
    wrong(&chain("source = \"neutrino\""), 3, "chain.source", kinds);
    wrong(&chain("source = \"electrum\""), 2, "chain.url", "where is the Electrum server?");
    wrong(&chain("source = \"electrum\"\nurl = \"http://a:1\""), 4, "chain.url", "not an Electrum server");
    wrong(&chain("sources = []"), 3, "chain.sources", "the list is empty");
    wrong(&chain("sources = [\"ftp://a\"]"), 3, "chain.sources", "not the address of a source");
    wrong(&chain("sources = [\"bitcoind://a\"]"), 3, "chain.sources", "no way to log in");
    wrong(&chain("sources = [\"bitcoind://u@a\"]"), 3, "chain.sources", "no password");
    let both = "source = \"esplora\"\nsources = [\"electrum+tcp://a:1\"]";
    wrong(&chain(both), 4, "chain.sources", "chain.source stands beside it: only one");
    let soon = "sources = [\"electrum+tcp://a:1\"]\ngive_up_after = \"1ms\"";
    wrong(&chain(soon), 4, "chain.give_up_after", "not such a time");
    wrong(&chain("source = \"esplora\""), 2, "chain.url", "where is the Esplora server?");
    wrong(&chain("source = \"esplora\"\nurl = \"ftp://a\""), 4, "chain.url", "not an http or https URL");
    let bitcoind = |lines: &str| chain(&format!("source = \"bitcoind\"\n{lines}"));
    wrong(&bitcoind(""), 2, "chain.cookie_file", "no way to log in");
    wrong(&bitcoind("user = \"a\""), 2, "chain.password", "it is missing");
    wrong(&bitcoind("password = \"a\""), 2, "chain.user", "it is missing");
    wrong(&bitcoind("user = \"a\"\ncookie_file = \"c\""), 5, "chain.cookie_file", "only one");
    wrong(&bitcoind("cookie_file = \"c\"\nport = 0"), 5, "chain.port", "1 to 65535");
    wrong(&bitcoind("cookie_file = \"c\"\nport = 70000"), 5, "chain.port", "70000 is not a port");
    wrong(&bitcoind("cookie_file = \"c\"\nhost = \"a:1\""), 5, "chain.host", "leave out the port");
}

#[test]
fn several_sources_stand_in_their_order() {
    let text = "network = \"regtest\"\n[chain]\nsources = [\"bitcoind://u:p%40ss@[::1]:1?x=y\", \
                \"esplora+https://a.example/api/\", \"electrum+ssl://b.example:50002\", \
                \"bitcoind://c.example?cookie_file=~/c\", \"bitcoind://v@d\"]\npassword = \"secr3t\"\n\
                give_up_after = \"30s\"\n";
    let settings = read(text).expect("in order");
    let bitcoind = |host: &str, port, auth| ChainSource::Bitcoind { host: host.to_owned(), port, auth };
    let password =
        |user: &str, password: &str| RpcAuth::Password { user: user.into(), password: password.into() };
    assert_eq!(
        settings.node.chain.sources,
        [
            bitcoind("[::1]", 1, password("u", "p@ss")),
            ChainSource::Esplora { url: "https://a.example/api".to_owned() },
            ChainSource::Electrum { url: "ssl://b.example:50002".to_owned() },
            bitcoind("c.example", 18_443, RpcAuth::CookieFile("/home/alice/c".into())),
            bitcoind("d", 18_443, password("v", "secr3t")),
        ]
    );
    assert_eq!(settings.node.chain.give_up_after.as_secs(), 30);
    let shown = format!("{settings:?}");
    assert!(!shown.contains("p@ss") && !shown.contains("p%40ss") && !shown.contains("secr3t"), "{shown}");
}

#[test]
fn who_may_stand_in_front_and_how_often_one_may_ask() {
    let settings = read(&format!("{HEAD}{SERVICE}")).expect("it is right");
    assert_eq!(settings.gateway.entrance, Entrance::default());
    let lines = "[gateway]\npublic_url = \"https://a.example\"\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n\
                 forwarded_by = \"forwarded\"\nproxy_protocol = \"any\"\n[gateway.limits]\n\
                 challenges = \"5 per second\"\nall_challenges = \"off\"\n";
    let settings = read(&format!("{HEAD}{lines}{SERVICE}")).expect("it is right");
    let Entrance { proxies, proxy_protocol, limits, unknown_caveats } = settings.gateway.entrance;
    assert_eq!(unknown_caveats, UnknownCaveats::Refuse);
    assert!(proxies.trust("10.9.9.9".parse().expect("an address")));
    assert!(!proxies.trust("192.0.2.1".parse().expect("an address")));
    assert_eq!((proxies.by, proxy_protocol), (ForwardedBy::Forwarded, ProxyProtocol::Any));
    assert_eq!(limits.challenges.map(|rate| rate.to_string()).as_deref(), Some("5 per second"));
    assert_eq!((limits.all_challenges, limits.failures), (None, Limits::usual().failures));
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);

    let warned =
        |lines: &str| read(&format!("{HEAD}[gateway]\n{lines}\n{SERVICE}")).expect("allowed").warnings;
    let alone = warned("public_url = \"https://a.example\"");
    assert!(alone[0].to_string().contains("gateway.trusted_proxies does not say what"), "{alone:?}");
    let skipped = read(&format!("{HEAD}[gateway]\nunknown_caveats = \"skip\"\n{SERVICE}")).expect("allowed");
    assert_eq!(skipped.gateway.entrance.unknown_caveats, UnknownCaveats::Skip);
    assert!(skipped.warnings[0].to_string().contains("is passed over"), "{:?}", skipped.warnings);
    let everyone = warned("trusted_proxies = \"0.0.0.0/0\"");
    assert!(everyone[0].to_string().contains("every address is a trusted proxy"), "{everyone:?}");
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = format!("netwrok = 1\n{HEAD}[gateway]\nlisten = \"x\"\n{}", SERVICE.replace("5 sat", "0 sat"));
    let problems = read(&text).expect_err("three mistakes");
    let lines: Vec<Source> = problems.0.iter().map(|p| p.source.clone()).collect();
    assert_eq!(lines, [Source::File(1), Source::File(7), Source::File(10)]);
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let text = format!("{HEAD}[gateway]\nlisten = \"127.0.0.1:1\"\n[admin]\nlisten = \"127.0.0.1:2\"\n");
    let env = Environment::from_iter([
        ("HOME", "/home/alice"),
        ("TOLLHOUSE_GATEWAY_LISTEN", "127.0.0.1:3"),
        ("TOLLHOUSE_ADMIN_LISTEN", "127.0.0.1:4"),
        ("TOLLHOUSE_ADMIN_ALLOWED_HOSTS", "a.example, B.example"),
        ("TOLLHOUSE_LIGHTNING_ALIAS", ""),
    ]);
    let flags = Flags { gateway_listen: Some("127.0.0.1:5".into()), ..Flags::default() };
    let settings = Settings::read(Path::new("t.toml"), &text, &flags, &env).expect("in order");
    assert_eq!(settings.gateway.listen.port(), 5);
    assert_eq!(settings.admin.listen.port(), 4);
    assert_eq!(settings.admin.allowed_hosts, ["a.example", "b.example"]);
    assert_eq!(settings.node.alias, None, "an empty variable is none");
    let source = |name: &str| settings.shown.iter().find(|s| s.setting == name).map(|s| s.source.clone());
    assert_eq!(source("gateway.listen"), Some(Source::Flag("--gateway-listen".into())));
    assert_eq!(source("admin.listen"), Some(Source::Env("TOLLHOUSE_ADMIN_LISTEN".into())));
    assert_eq!(source("chain.url"), Some(Source::File(4)));
    assert_eq!(source("log"), Some(Source::Default));

    let flags = Flags { network: Some("moon".into()), ..Flags::default() };
    let problems = Settings::read(Path::new("t.toml"), &text, &flags, &env).expect_err("no such network");
    assert!(problems.to_string().starts_with("--network: network: "), "{problems}");
}

#[test]
fn the_node_is_told_what_the_file_says() {
    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let text = format!(
        "network = \"signet\"\n[chain]\nsource = \"bitcoind\"\nuser = \"u\"\npassword = \"p4ss\"\n\
         [gossip]\nsource = \"rapid_sync\"\nurl = \"https://rgs.example/snapshot\"\n\
         [lightning]\nlisten = []\nalias = \"toll\"\ntrusted_peers_no_reserve = [\"{key}\"]\n"
    );
    let settings = read(&text).expect("in order");
    let auth = RpcAuth::Password { user: "u".into(), password: "p4ss".into() };
    assert_eq!(
        settings.node.chain.sources,
        [ChainSource::Bitcoind { host: "127.0.0.1".into(), port: 38_332, auth }]
    );
    assert_eq!(settings.node.gossip, GossipSource::RapidSync { url: "https://rgs.example/snapshot".into() });
    assert!(settings.node.listen.is_empty(), "a node that only dials");
    assert_eq!(settings.node.trusted_peers_no_reserve, [key]);
    assert_eq!(settings.network_dir(), Path::new("/home/alice/.local/share/tollhouse/signet"));
    assert!(!format!("{settings:?}").contains("p4ss"), "the password is not shown");

    let cookie =
        "network = \"regtest\"\ndata_dir = \"data\"\n[chain]\nsource = \"bitcoind\"\ncookie_file = \"~/c\"\n";
    let settings = read(cookie).expect("in order");
    let auth = RpcAuth::CookieFile("/home/alice/c".into());
    assert_eq!(
        settings.node.chain.sources,
        [ChainSource::Bitcoind { host: "127.0.0.1".into(), port: 18_443, auth }]
    );
    assert_eq!(settings.data_dir, Path::new("/etc/data"), "a path in the file starts at the file");
}

/// The template with the # removed before the lines of its example: those where no space follows it.
fn example_used(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example) if !example.is_empty() && !example.starts_with(' ') => example.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn the_template_is_in_order_and_every_line_in_comments_would_be_too() {
    for network in [
        bitcoin::Network::Regtest,
        bitcoin::Network::Signet,
        bitcoin::Network::Testnet,
        bitcoin::Network::Bitcoin,
    ] {
        let text = template(network);
        let (name, upstream) = tollhouse::web::EXAMPLE;
        let example = (format!("name = \"{name}\""), format!("upstream = \"{upstream}\""));
        assert!(text.contains(&example.0) && text.contains(&example.1), "the checklist knows the example");
        let settings = read(&text).expect("the template passes");
        assert_eq!(settings.node.network, network);
        assert!(settings.services.is_empty(), "nothing is sold that nobody wrote");
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
        let none = settings.none_named.map(|doubt| doubt.what);
        assert!(none.as_ref().is_some_and(|none| none.starts_with("no file names a service")), "{none:?}");
        let text = example_used(&text);
        let used = read(&text).expect("the example passes");
        assert!(used.warnings.is_empty() && used.none_named.is_none(), "{:?}", used.warnings);
        assert_eq!(used.services.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), [name]);
        // A commented setting is one that could be switched on: its key must be known.
        for (number, line) in text.lines().enumerate() {
            let Some(setting) = line.strip_prefix("# ") else { continue };
            let key = setting.split(" = ").next().unwrap_or_default();
            let is_setting =
                setting.contains(" = ") && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if !is_setting {
                continue;
            }
            let mut lines: Vec<&str> = text.lines().collect();
            lines[number] = setting;
            if let Err(problems) = read(&lines.join("\n")) {
                // The other source's lines repeat a key that is in use; nothing else may be wrong.
                assert!(
                    problems.to_string().contains("duplicate key")
                        || problems.to_string().contains("services.toml cannot be read")
                        || problems.to_string().contains("fullchain.pem cannot be read")
                        || problems.to_string().contains("only one"),
                    "{problems}"
                );
            }
        }
    }
}
