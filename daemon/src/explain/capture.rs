//! Reads captures (pcap and pcapng) as Ethernet frames.

use std::fs::File;
use std::path::Path;

use pcap_parser::pcapng::Block;
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Linktype, PcapBlockOwned, PcapError};

use super::ExplainError;

/// A jumbo packet with room to spare.
const BUFFER: usize = 1 << 18;

/// The first `limit` packets (0 = all). Captures of "any" (Linux cooked) and of
/// raw IP get an Ethernet header with zero addresses.
///
/// # Errors
/// The file can't be read, is no capture, or is of another link type.
pub fn read(file: &Path, limit: usize) -> Result<Vec<Vec<u8>>, ExplainError> {
    let failed = |why: String| ExplainError::Capture {
        file: file.to_owned(),
        why,
    };
    let open = File::open(file).map_err(|error| failed(error.to_string()))?;
    let mut reader =
        pcap_parser::create_reader(BUFFER, open).map_err(|error| failed(told(&error)))?;
    let mut frames = Vec::new();
    let mut links = Vec::new();
    while limit == 0 || frames.len() < limit {
        match reader.next() {
            Ok((used, block)) => {
                if let Some(frame) = packet_of(&block, &mut links).map_err(&failed)? {
                    frames.push(frame);
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => break,
            Err(PcapError::Incomplete(_)) => {
                reader.refill().map_err(|error| failed(told(&error)))?;
            }
            Err(error) => return Err(failed(told(&error))),
        }
    }
    Ok(frames)
}

/// The packet of a block; `links` collects the link types of the interfaces.
fn packet_of(
    block: &PcapBlockOwned<'_>,
    links: &mut Vec<Linktype>,
) -> Result<Option<Vec<u8>>, String> {
    let (data, iface) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            links.push(header.network);
            return Ok(None);
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            links.clear();
            return Ok(None);
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(iface)) => {
            links.push(iface.linktype);
            return Ok(None);
        }
        PcapBlockOwned::Legacy(packet) => (packet.data, 0),
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            (packet.packet_data(), packet.if_id as usize)
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => (packet.packet_data(), 0),
        PcapBlockOwned::NG(_) => return Ok(None),
    };
    let link = links
        .get(iface)
        .copied()
        .ok_or("a packet of an interface that is not described")?;
    ethernet(link, data).map(Some)
}

fn ethernet(link: Linktype, data: &[u8]) -> Result<Vec<u8>, String> {
    let cooked = |at: usize, header: usize| match (data.get(at..at + 2), data.get(header..)) {
        (Some(ethertype), Some(payload)) => Ok(with_header([ethertype[0], ethertype[1]], payload)),
        _ => Err("a packet that ends inside its link header".to_owned()),
    };
    match link {
        Linktype::ETHERNET => Ok(data.to_owned()),
        Linktype::LINUX_SLL => cooked(14, 16),
        Linktype::LINUX_SLL2 => cooked(0, 20),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => match data.first().map(|b| b >> 4) {
            Some(6) => Ok(with_header([0x86, 0xdd], data)),
            _ => Ok(with_header([0x08, 0x00], data)),
        },
        other => Err(format!(
            "link type {other} is not Ethernet, Linux cooked or raw IP"
        )),
    }
}

fn with_header(ethertype: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [&[0; 12], ethertype.as_slice(), payload].concat()
}

fn told<I: std::fmt::Debug>(error: &PcapError<I>) -> String {
    match error {
        PcapError::HeaderNotRecognized => "neither pcap nor pcapng".into(),
        PcapError::Eof => "it is empty".into(),
        PcapError::UnexpectedEof | PcapError::Incomplete(_) => "it ends inside a packet".into(),
        PcapError::ReadError => "it can't be read".into(),
        other => format!("it is damaged ({other:?})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture of little endian with microseconds.
    fn pcap(link: u32, packets: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(0xa1b2_c3d4u32.to_le_bytes());
        file.extend([2, 0, 4, 0]);
        file.extend([0; 8]);
        file.extend(65_535u32.to_le_bytes());
        file.extend(link.to_le_bytes());
        for packet in packets {
            let len = u32::try_from(packet.len()).unwrap().to_le_bytes();
            file.extend([0; 8]);
            file.extend(len);
            file.extend(len);
            file.extend_from_slice(packet);
        }
        file
    }

    fn check(bytes: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.pcap");
        std::fs::write(&file, bytes).unwrap();
        read(&file, limit).map_err(|error| error.to_string())
    }

    #[test]
    fn packets_come_as_ethernet_frames() {
        let ip4 = [0x45, 1, 2, 3];
        let framed = [&[0; 12], [0x08, 0x00].as_slice(), &ip4].concat();
        let cooked = [&[0; 14], [0x08, 0x00].as_slice(), &ip4].concat();
        let cooked2 = [[0x08, 0x00].as_slice(), &[0; 18], &ip4].concat();
        let rows = [
            ("ethernet", 1, framed.clone(), framed.clone()),
            ("raw", 101, ip4.to_vec(), framed.clone()),
            ("cooked", 113, cooked, framed.clone()),
            ("cooked v2", 276, cooked2, framed),
        ];
        for (name, link, packet, expected) in rows {
            assert_eq!(
                check(&pcap(link, &[&packet]), 0).unwrap(),
                [expected],
                "{name}"
            );
        }
    }

    #[test]
    fn the_limit_holds() {
        let file = pcap(1, &[&[1; 60], &[2; 60], &[3; 60]]);
        assert_eq!(check(&file, 2).unwrap().len(), 2);
        assert_eq!(check(&file, 0).unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        let whole = pcap(1, &[&[1; 60]]);
        let rows: [(&str, &[u8], &str); 4] = [
            ("empty", &[], "it is empty"),
            (
                "text",
                b"this is no capture at all, just a text that is long enough",
                "neither",
            ),
            ("cut", &whole[..whole.len() - 10], "ends inside"),
            ("usb", &pcap(189, &[&[1; 60]]), "not Ethernet"),
        ];
        for (name, bytes, part) in rows {
            let error = check(bytes, 0).expect_err(name);
            assert!(error.contains(part), "{name}: {error}");
        }
    }
}
