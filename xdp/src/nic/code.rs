//! A deny list as instructions of BPF. It is compiled here and not by clang, for what
//! it looks for depends on the list, and constants of an object would be one more map,
//! of a kind that NICs don't take.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use ipnet::IpNet;
use terrace_abi::sys::Instruction;

/// Bytes of a key: an address of four words and which length, of which family.
pub const KEY: u32 = 20;
const ETH_LEN: i32 = 14;
const V4_LEN: i32 = 20;
const V6_LEN: i32 = 40;
const V4_SOURCE: i16 = 26;
const V6_SOURCE: i16 = 22;
/// Added to the length of an IPv6 prefix.
const IS_V6: u32 = 256;
/// Where the key is on the stack, and the counter's.
const STACK_KEY: i16 = -24;
const STACK_INDEX: i16 = -32;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;
const MAP_LOOKUP: i32 = 1;

/// A prefix as its key in the map.
pub fn key(net: &IpNet) -> Vec<u8> {
    let mut key = vec![0; KEY as usize];
    match net.network() {
        std::net::IpAddr::V4(address) => key[..4].copy_from_slice(&address.octets()),
        std::net::IpAddr::V6(address) => key[..16].copy_from_slice(&address.octets()),
    }
    key[16..].copy_from_slice(&class(net).to_ne_bytes());
    key
}

fn class(net: &IpNet) -> u32 {
    let family = match net {
        IpNet::V4(_) => 0,
        IpNet::V6(_) => IS_V6,
    };
    family + u32::from(net.prefix_len())
}

/// A program that drops what comes from an entry of a map, and counts it. `lengths`
/// has one prefix of each length that it looks for.
pub fn compile(
    lengths: &[IpNet],
    entries: BorrowedFd<'_>,
    counts: BorrowedFd<'_>,
) -> Vec<Instruction> {
    let (entries, counts) = (entries.as_raw_fd(), counts.as_raw_fd());
    let mut code = Code::default();
    // r6 = the packet, r7 = its end.
    code.load32(6, 1, 0);
    code.load32(7, 1, 4);
    code.bounds(ETH_LEN, Label::Pass);
    code.load16(3, 6, 12);
    code.jump_if(3, be16(0x0800), Label::V4);
    code.jump_if(3, be16(0x86dd), Label::V6);
    code.jump(Label::Pass);
    code.label(Label::V4);
    code.bounds(ETH_LEN + V4_LEN, Label::Pass);
    code.look_up(lengths, false, V4_SOURCE, entries);
    code.label(Label::V6);
    code.bounds(ETH_LEN + V6_LEN, Label::Pass);
    code.look_up(lengths, true, V6_SOURCE, entries);
    code.label(Label::Pass);
    code.exit(XDP_PASS);
    code.label(Label::Drop);
    code.count(counts);
    code.label(Label::Dropped);
    code.exit(XDP_DROP);
    code.finish()
}

fn be16(word: u16) -> i32 {
    i32::from(word.to_be())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    V4,
    V6,
    Pass,
    Drop,
    Dropped,
}

#[derive(Default)]
struct Code {
    all: Vec<Instruction>,
    /// Jumps that are to be filled in.
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Code {
    fn push(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.all.push(Instruction {
            code,
            dst,
            src,
            off,
            imm,
        });
    }

    fn load32(&mut self, dst: u8, src: u8, off: i16) {
        self.push(0x61, dst, src, off, 0);
    }

    fn load16(&mut self, dst: u8, src: u8, off: i16) {
        self.push(0x69, dst, src, off, 0);
    }

    fn copy(&mut self, dst: u8, src: u8) {
        self.push(0xbf, dst, src, 0, 0);
    }

    fn add(&mut self, dst: u8, imm: i32) {
        self.push(0x07, dst, 0, 0, imm);
    }

    fn jump(&mut self, to: Label) {
        self.jumps.push((self.all.len(), to));
        self.push(0x05, 0, 0, 0, 0);
    }

    fn jump_if(&mut self, dst: u8, equals: i32, to: Label) {
        self.jumps.push((self.all.len(), to));
        self.push(0x15, dst, 0, 0, equals);
    }

    fn jump_unless(&mut self, dst: u8, equals: i32, to: Label) {
        self.jumps.push((self.all.len(), to));
        self.push(0x55, dst, 0, 0, equals);
    }

    /// Goes elsewhere unless the packet has so many bytes.
    fn bounds(&mut self, bytes: i32, otherwise: Label) {
        self.copy(2, 6);
        self.add(2, bytes);
        self.jumps.push((self.all.len(), otherwise));
        self.push(0x2d, 2, 7, 0, 0);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.all.len()));
    }

    /// Calls map_lookup_elem with what is on the stack.
    fn call_look_up(&mut self, map: i32, at: i16) {
        self.push(0x18, 1, 1, 0, map);
        self.push(0, 0, 0, 0, 0);
        self.copy(2, 10);
        self.add(2, i32::from(at));
        self.push(0x85, 0, 0, 0, MAP_LOOKUP);
    }

    fn store(&mut self, at: i16, word: i32) {
        self.push(0x62, 10, 0, at, word);
    }

    /// Looks for the source under each length of one family; goes to Drop or Pass.
    fn look_up(&mut self, lengths: &[IpNet], is_v6: bool, source: i16, map: i32) {
        let of_family = |net: &&IpNet| matches!(net, IpNet::V6(_)) == is_v6;
        for net in lengths.iter().filter(of_family) {
            let mask = match net.netmask() {
                std::net::IpAddr::V4(mask) => mask.octets().to_vec(),
                std::net::IpAddr::V6(mask) => mask.octets().to_vec(),
            };
            for word in 0..4 {
                let at = STACK_KEY + 4 * word;
                match mask.chunks_exact(4).nth(word as usize) {
                    Some(mask) => {
                        let mask = i32::from_ne_bytes([mask[0], mask[1], mask[2], mask[3]]);
                        self.load32(2, 6, source + 4 * word);
                        self.push(0x54, 2, 0, 0, mask);
                        self.push(0x63, 10, 2, at, 0);
                    }
                    None => self.store(at, 0),
                }
            }
            self.store(STACK_KEY + 16, class(net).cast_signed());
            self.call_look_up(map, STACK_KEY);
            self.jump_unless(0, 0, Label::Drop);
        }
        self.jump(Label::Pass);
    }

    /// One packet more, and its bytes.
    fn count(&mut self, map: i32) {
        self.store(STACK_INDEX, 0);
        self.call_look_up(map, STACK_INDEX);
        self.jump_if(0, 0, Label::Dropped);
        self.push(0xb7, 2, 0, 0, 1);
        self.push(0xdb, 0, 2, 0, 0);
        self.push(0x1f, 7, 6, 0, 0);
        self.push(0xdb, 0, 7, 8, 0);
    }

    fn exit(&mut self, action: i32) {
        self.push(0xb7, 0, 0, 0, action);
        self.push(0x95, 0, 0, 0, 0);
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (at, to) in self.jumps {
            let found = self.labels.iter().find(|(label, _)| *label == to);
            let (_, target) = found.expect("compile() places every label");
            let distance = i16::try_from(*target - at - 1);
            self.all[at].off = distance.expect("eight lengths are short jumps");
        }
        self.all
    }
}
