//! Hostile and random heads at the place of a request: programs and model
//! alike, and what passes the worker reads as the same plain request.

use terrace_abi::consts;
use terrace_l7::http::{Body, Limits, parse_request, storage};
use terrace_l7::splice::scan;
use terrace_model::{Family, Model, Packet, Transport};

use crate::fabric::Fabric;
use crate::generate::Dice;
use crate::order::{ACK, end, syn};
use crate::random::{number as setting, send};
use crate::row::{At, Tiers};
use crate::rows::armed;
use crate::splices::{ENDS, REMOTE, number};

const CORPUS: &str = include_str!("../../../../daemon/l7/tests/corpus/requests.txt");
/// What random heads are made of, and what is put into them.
const PLAIN: &str = "GET /a/b?c=d HTTP/1.1\r\nHost: shop.example:80\r\nAccept: */*\r\nConnection: keep-alive\r\nX-Long-Name-Of-A-Field: value\r\n\r\n";
const PARTS: [&str; 24] = [
    "\r\n",
    "\n",
    "\r",
    "\t",
    " ",
    ":",
    "\0",
    "\u{7f}",
    "/",
    "/.",
    "..",
    "%2e",
    "?",
    "#",
    "Host: b\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Upgrade: h2c\r\n",
    "connection: x\r\n",
    "Expect: y\r\n",
    "HEAD ",
    "HTTP/1.0",
    "\r\n\r\n",
    "0",
];

/// The corpus' streams, by their rows' own escapes.
fn corpus() -> Vec<Vec<u8>> {
    let rows = CORPUS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let texts = rows.map(|line| line.splitn(3, " | ").nth(2).unwrap());
    texts
        .map(|text| {
            let text = text
                .replace('¶', "\r\n")
                .replace("\\r", "\r")
                .replace("\\n", "\n");
            text.replace("\\t", "\t").replace("\\0", "\0").into_bytes()
        })
        .collect()
}

fn random(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = PLAIN.as_bytes().to_vec();
    for _ in 0..dice.of(&[0, 1, 1, 1, 2, 3]) {
        let at = dice.roll() as usize % bytes.len();
        match dice.of(&[0, 1, 1, 2, 3]) {
            0 => bytes[at] = dice.roll() as u8,
            1 => drop(bytes.splice(at..at, dice.of(&PARTS).bytes())),
            2 => drop(bytes.drain(at..(at + 1 + dice.roll() as usize % 9).min(bytes.len()))),
            _ => bytes[at] ^= 0x20,
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
    bytes
}

/// What passes is what the worker would have passed: a whole request, no body.
fn is_plain(bytes: &[u8]) -> bool {
    let Some(asked) = scan::request(bytes) else {
        return true;
    };
    let mut storage = storage();
    let request = parse_request(bytes, &mut storage, &Limits::default());
    let request = request.ok().flatten();
    request.is_some_and(|request| {
        request.len == bytes.len()
            && request.body == Body::Empty
            && request.upgrade.is_none()
            && request.keep_alive
            && (request.target.path_and_query, request.target.path) == (asked.target, asked.path())
            && scan::method_number(request.method) == Some(asked.method)
    })
}

#[test]
fn root_hostile_heads_pass_only_where_the_worker_reads_the_same_request() {
    let seed = setting("MODEL_SEED", 1);
    let mut dice = Dice::new(seed);
    let mut heads = corpus();
    assert!(heads.len() >= 150, "{}", heads.len());
    heads.extend((0..setting("MODEL_PACKETS", 6_000)).map(|_| random(&mut dice)));
    heads.retain(|head| !head.is_empty());
    for head in &heads {
        assert!(is_plain(head), "{:?}", String::from_utf8_lossy(head));
    }
    Fabric::new("heads").run(|lab| {
        let mut seen = std::collections::BTreeMap::new();
        for family in Family::ALL {
            let mut world = lab.world();
            armed(&mut world);
            lab.install(&world);
            lab.forget();
            let number = number(family, REMOTE);
            let mut model = Model::new(world.clone());
            let (_, ends) = ENDS[0];
            let mut bind = syn(family, ends[2], ends[3]).bytes();
            bind[..12].fill(0);
            bind[0] = consts::L7_MAGIC as u8;
            bind[1] = consts::L7_TO_SERVER as u8;
            bind[4..8].copy_from_slice(&number.to_le_bytes());
            send(lab, &mut model, Tiers::XdpAndTc, At::Port, &bind, "bind");
            for (i, head) in heads.iter().enumerate() {
                // Each is the first behind the binding's last answer.
                lab.rebind(number);
                model.heads.clear();
                let transport =
                    Transport::Tcp(ACK, 2000, 5100u32.wrapping_add(0xffff_f000), Vec::new());
                let mut packet = Packet::new(end(family, ends[0]), end(family, ends[1]), transport);
                packet.payload = head.clone();
                let context = format!("seed {seed}, head {i}: {:?}", String::from_utf8_lossy(head));
                let place = At::Uplink("up0");
                let out = send(
                    lab,
                    &mut model,
                    Tiers::XdpAndTc,
                    place,
                    &packet.bytes(),
                    &context,
                );
                *seen.entry(out.unwrap().reason.name()).or_insert(0) += 1;
                let binding = (number, world.l7.splices[&number].binding);
                let noted = model.heads.get(&binding).copied().unwrap_or_default();
                assert_eq!(lab.heads(binding.0, binding.1), noted, "{context}");
            }
        }
        println!("seed {seed}: {seen:?}");
        for reason in ["request", "to_worker"] {
            assert!(
                seen.get(reason) > Some(&1_000),
                "too few {reason}: {seen:?}"
            );
        }
    });
}
