use std::net::SocketAddr;

use terrace::l7::rules::{Asked, Outcome, Rules, Verdict};
use terrace_abi::Limits;
use terrace_l7::http::{Limits as HeadLimits, parse_request, storage};
use terrace_l7::rules::{HeadWriter, Scratch};
use terrace_mesh::{Compiler, HostFacts, InterfaceFact, SourceFile, Tables, parse};

pub const CLIENT: &str = "10.0.0.1:40000";
const STRANGER: &str = "203.0.113.9:40000";
pub const SHOP: &str = "10.96.0.1:80";
pub const PLAIN: &str = "10.96.0.2:80";

/// Services `shop` (routes), `plain` (none), `v2` and `dead`; workloads `web`
/// (a backend of `plain`, under policy) and `client`.
pub const MESH: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {clusterIP: 10.96.0.2, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: v2}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: dead}
spec: {clusterIP: 10.96.0.3, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: ["10.0.1.1"]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: v2-1, labels: {kubernetes.io/service-name: v2}}
addressType: IPv4
ports: [{port: 8082}]
endpoints: [{addresses: ["10.0.1.2"]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: plain-1, labels: {kubernetes.io/service-name: plain}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: ["10.0.0.2"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}, annotations: {terrace.io/interface: veth-web}}
spec: {nodeName: node-1, containers: []}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}, annotations: {terrace.io/interface: veth-client}}
spec: {nodeName: node-1, containers: []}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: v2, labels: {app: v2}}
spec: {nodeName: node-2, containers: []}
status: {podIP: 10.0.1.2}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts:
    - ports: [{port: "8080", protocol: TCP}]
      rules:
        http:
        - {method: GET, path: "/public/.*"}
        - {method: POST, path: /orders, host: "plain", headers: ["X-Token: a"]}
        - {headers: ["Upgrade: websocket"]}
        - {method: "PATCH|CONNECT", host: "tun.*"}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: client}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egressDeny:
  - toEndpoints: [{matchLabels: {app: v2}}]
    toPorts: [{ports: [{port: "8082", protocol: TCP}]}]
  egress:
  - toEntities: [all]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: shop, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /v2}}]
    backendRefs: [{name: v2, port: 80}]
  - matches: [{path: {type: Exact, value: /dead}}]
    backendRefs: [{name: dead, port: 80}]
  - matches: [{path: {type: Exact, value: /nobody}}]
    backendRefs: [{name: shop, port: 80, weight: 0}]
  - matches: [{path: {type: Exact, value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301, path: {type: ReplaceFullPath, replaceFullPath: /new}}}]
  - matches: [{path: {type: PathPrefix, value: /changed}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: inner, path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}]
    backendRefs: [{name: shop, port: 80}]
    timeouts: {request: 10s, backendRequest: 2s}
  - matches: [{path: {type: PathPrefix, value: /shop}}]
    backendRefs: [{name: shop, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /ws}, headers: [{name: Upgrade, value: websocket}]}]
    backendRefs: [{name: shop, port: 80}]
  - matches: [{path: {type: Exact, value: /both}}, {method: CONNECT}]
    backendRefs: [{name: shop, port: 80}]
"#;

fn tables(text: &str) -> Tables {
    let file = SourceFile {
        path: "mesh.yaml".into(),
        text: text.to_owned(),
    };
    let interface = |ifindex| InterfaceFact {
        ifindex,
        ..InterfaceFact::default()
    };
    let facts = HostFacts {
        node_name: "node-1".to_owned(),
        interfaces: [
            ("veth-web".to_owned(), interface(5)),
            ("veth-client".to_owned(), interface(6)),
        ]
        .into(),
        limits: Limits::small(),
        maglev_size: 251,
        l7: true,
        ..HostFacts::default()
    };
    let manifests = parse(&[file]).unwrap_or_else(|errors| panic!("{errors}"));
    let compiler = Compiler::new(manifests, facts, None);
    compiler
        .unwrap_or_else(|errors| panic!("{errors}"))
        .tables()
        .clone()
}

pub fn rules(text: &str) -> Rules {
    let built = Rules::build(&tables(text), true, &Rules::default());
    built.unwrap_or_else(|errors| panic!("{errors}"))
}

pub fn asked(client: &str, service: &str) -> Asked {
    let endpoint = |text: &str| text.parse::<SocketAddr>().expect("an endpoint").into();
    Asked {
        client: endpoint(client),
        service: endpoint(service),
        bound: None,
        random: 0,
    }
}

/// What becomes of a head: the server, or the status.
fn outcome(rules: &Rules, asked: &Asked, head: &str) -> (String, terrace::l7::rules::Note) {
    let mut storage = storage();
    let request = parse_request(head.as_bytes(), &mut storage, &HeadLimits::default());
    let request = request.expect("a head").expect("a whole head");
    let ruling = rules.decide(asked, &request, &mut Scratch::default());
    let written = |token| {
        let mut buffer = [0; 512];
        let mut out = HeadWriter::new(&mut buffer);
        rules.write(token, &request, &mut out).expect("room");
        let len = out.len();
        String::from_utf8_lossy(&buffer[..len]).replace("\r\n", "|")
    };
    let text = match ruling.outcome {
        Outcome::Answer(status) => status.to_string(),
        Outcome::Redirect(token) => written(token),
        Outcome::Forward {
            server,
            rewrite,
            tunnel,
            timeout_ms,
            ..
        } => {
            let mut text = format!("{:?}", server.endpoint);
            text += if tunnel { " tunnel" } else { "" };
            if timeout_ms > 0 {
                text += &format!(" {timeout_ms} ms");
            }
            if let Some(token) = rewrite {
                text += &format!(" {}", written(token));
            }
            text
        }
    };
    (text, ruling.note)
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: plain\r\n\r\n")
}

const UPGRADE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn routes_then_policy_of_both_ends_decide() {
    let rules = rules(MESH);
    let upgrade = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: plain\r\n{UPGRADE}");
    let order = "POST /orders HTTP/1.1\r\nHost: plain\r\nX-Token: a\r\n\r\n".to_owned();
    let connect = "CONNECT tun:80 HTTP/1.1\r\nHost: tun:80\r\n\r\n".to_owned();
    let rows: &[(&str, &str, &str, String, &str)] = &[
        ("a route", CLIENT, SHOP, get("/shop/1"), "10.0.1.1:8080"),
        ("no route", CLIENT, SHOP, get("/none"), "404"),
        ("no backend", CLIENT, SHOP, get("/dead"), "503"),
        ("no weight", CLIENT, SHOP, get("/nobody"), "500"),
        (
            "a pool without a frontend",
            STRANGER,
            SHOP,
            get("/v2/a"),
            "10.0.1.2:8082",
        ),
        (
            "egress of the client denies that server",
            CLIENT,
            SHOP,
            get("/v2/a"),
            "403",
        ),
        (
            "a redirect",
            CLIENT,
            SHOP,
            get("/old"),
            "HTTP/1.1 301 Moved Permanently|Location: http://plain/new|Content-Length: 0|Connection: close||",
        ),
        (
            "a changed head, and the sooner of two time limits",
            CLIENT,
            SHOP,
            get("/changed/a"),
            "10.0.1.1:8080 2000 ms GET /x/a HTTP/1.1|Host: inner||",
        ),
        (
            "an upgrade that a route names",
            CLIENT,
            SHOP,
            upgrade("/ws"),
            "10.0.1.1:8080 tunnel",
        ),
        (
            "an upgrade that none names",
            CLIENT,
            SHOP,
            upgrade("/shop"),
            "10.0.1.1:8080",
        ),
        (
            "a rule set",
            CLIENT,
            PLAIN,
            get("/public/a"),
            "10.0.0.2:8080 tunnel",
        ),
        ("no rule of it", CLIENT, PLAIN, get("/private"), "403"),
        (
            "headers, method and host",
            CLIENT,
            PLAIN,
            order.clone(),
            "10.0.0.2:8080 tunnel",
        ),
        (
            "another host",
            CLIENT,
            PLAIN,
            order.replace("plain", "other"),
            "403",
        ),
        (
            "without the header",
            CLIENT,
            PLAIN,
            order.replace("Token", "Other"),
            "403",
        ),
        (
            "an upgrade that a policy rule names",
            CLIENT,
            PLAIN,
            upgrade("/"),
            "10.0.0.2:8080 tunnel",
        ),
        (
            "an upgrade that none of the matching ones names",
            CLIENT,
            PLAIN,
            upgrade("/public/a").replace("websocket", "h2c"),
            "403",
        ),
        (
            "an upgrade where a route's rule names CONNECT",
            CLIENT,
            SHOP,
            upgrade("/both"),
            "10.0.1.1:8080",
        ),
        (
            "CONNECT that a route's rule names",
            CLIENT,
            SHOP,
            connect.clone(),
            "10.0.1.1:8080 tunnel",
        ),
        (
            "an upgrade where a policy rule names its method or CONNECT",
            CLIENT,
            PLAIN,
            format!("PATCH / HTTP/1.1\r\nHost: tun\r\n{UPGRADE}").replace("websocket", "h2c"),
            "403",
        ),
        (
            "CONNECT that a policy rule names",
            CLIENT,
            PLAIN,
            connect,
            "10.0.0.2:8080 tunnel",
        ),
        ("another peer", STRANGER, PLAIN, get("/public/a"), "403"),
        (
            "the server itself",
            CLIENT,
            "10.0.0.2:8080",
            get("/public/a"),
            "10.0.0.2:8080 tunnel",
        ),
        (
            "the server itself, denied",
            CLIENT,
            "10.0.0.2:8080",
            get("/a"),
            "403",
        ),
    ];
    for (name, client, service, head, expected) in rows {
        let (found, _) = outcome(&rules, &asked(client, service), head);
        assert_eq!(found, *expected, "{name}");
    }
}

#[test]
fn the_note_names_route_rule_and_identities() {
    let tables = tables(MESH);
    let rules = Rules::build(&tables, true, &Rules::default()).expect("rules");
    let (_, note) = outcome(&rules, &asked(CLIENT, SHOP), &get("/shop"));
    let route = &tables.directory.route_rules[&note.route];
    assert_eq!(
        (route.route.name.as_str(), route.path.as_str()),
        ("shop", "spec.rules[5]")
    );
    let frontend = &tables.directory.frontends[&note.service];
    assert_eq!(frontend.service.name, "shop");
    assert_eq!(tables.directory.backends[&note.backend].port, 8080);
    let order = "POST /orders HTTP/1.1\r\nHost: plain\r\nX-Token: a\r\n\r\n";
    let (_, note) = outcome(&rules, &asked(CLIENT, PLAIN), order);
    let rule = &tables.directory.rules[&(note.rule >> 8)];
    assert_eq!((rule.policy.name.as_str(), note.rule & 255), ("web", 1));
    assert_eq!(
        tables.directory.identities[&note.client].labels["app"],
        "client"
    );
    assert_eq!(
        tables.directory.identities[&note.server].labels["app"],
        "web"
    );
    assert_eq!(note.verdict, Verdict::Forwarded);
    let (_, note) = outcome(&rules, &asked(CLIENT, SHOP), &get("/v2"));
    assert_eq!(
        tables.directory.rules[&(note.rule >> 8)].path,
        "spec.egressDeny[0]"
    );
    assert_eq!(note.verdict, Verdict::Denied);
}

#[test]
fn what_did_not_change_is_not_compiled_again() {
    let tables = tables(MESH);
    let first = Rules::build(&tables, true, &Rules::default()).expect("rules");
    let second = Rules::build(&tables, true, &first).expect("rules");
    assert!(std::ptr::eq(first.policy(), second.policy()));
}

#[test]
fn without_routes_and_http_rules_the_workers_know_nothing() {
    let only_services = MESH
        .split("---\napiVersion: cilium.io")
        .next()
        .expect("text");
    let rules = rules(only_services);
    assert!(rules.frontend(asked(CLIENT, SHOP).service).is_none());
}

#[test]
fn an_index_names_its_owner_and_no_owner_comes_twice() {
    let owners = |rules: &Rules, tables: &Tables| -> Vec<(SocketAddr, u32)> {
        let backends = tables.directory.backends.iter();
        let known = backends.map(|(index, backend)| {
            let owner = (0..100).find(|owner| rules.still_own([0, *index], [0, *owner]));
            let address = SocketAddr::new(backend.address, backend.port);
            (address, owner.expect("an owner"))
        });
        known.collect()
    };
    let (first, other) = (tables(MESH), tables(&MESH.replace("10.0.1.1", "10.0.1.9")));
    let rules = Rules::build(&first, true, &Rules::default()).expect("rules");
    let same = Rules::build(&first, true, &rules).expect("rules");
    assert_eq!(owners(&same, &first), owners(&rules, &first));
    let changed = Rules::build(&other, true, &same).expect("rules");
    let (before, after) = (owners(&same, &first), owners(&changed, &other));
    for (address, owner) in &after {
        let held = before.iter().find(|(_, of)| of == owner);
        assert!(
            held.is_none_or(|(of, _)| of == address),
            "{address}: {owner}"
        );
    }
    assert_ne!(before, after);
    let (plain, _) = MESH.split_once("---").expect("several documents");
    let nothing = Rules::build(&tables(plain), true, &changed).expect("rules");
    let again = Rules::build(&first, true, &nothing).expect("rules");
    let last = after.iter().map(|(_, owner)| *owner).max();
    let fresh = owners(&again, &first).into_iter();
    assert!(
        fresh.map(|(_, owner)| owner).min() > last,
        "numbers come again"
    );
}
