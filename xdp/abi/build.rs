//! Turns `include/terrace/abi.h` into Rust: structs through BTF and the
//! skeleton generator, constants from BTF enums and `#define`s, and the
//! reasons from the REASONS table.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use libbpf_rs::btf::types::{Enum, MemberAttr, Struct};
use libbpf_rs::{Btf, HasSize as _};

fn main() -> Result<()> {
    let header_path = terrace_bpf_build::include_dir().join("terrace/abi.h");
    let header = fs::read_to_string(&header_path)
        .with_context(|| format!("read {}", header_path.display()))?;
    let out = terrace_bpf_build::out_dir()?;

    let source = out.join("types.bpf.c");
    fs::write(&source, types_source(&header))?;
    let object = terrace_bpf_build::skeleton(&source, "types")?;
    let btf = Btf::from_path(&object).context("read the BTF of types.bpf.c")?;
    check_padding(&btf, &declared(&header, "struct"))?;
    fs::write(out.join("consts.rs"), consts(&btf, &header)?)?;
    fs::write(out.join("plain.rs"), plain(&declared(&header, "struct")))?;
    terrace_bpf_build::compile("src/bpf/tables.bpf.c".as_ref(), "tables")?;
    fs::write(out.join("reasons.rs"), reasons(&parse_reasons(&header)?)?)?;
    Ok(())
}

/// Names of `struct x {` or `enum x {` at the start of a line.
fn declared(header: &str, keyword: &str) -> Vec<String> {
    header
        .lines()
        .filter_map(|line| line.strip_prefix(keyword)?.strip_prefix(' '))
        .filter_map(|rest| rest.split_once(" {").map(|(name, _)| name.to_owned()))
        .collect()
}

/// Names of `#define NAME value`, without the include guard.
fn defines(header: &str) -> Vec<String> {
    header
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split_once(' '))
        .filter(|(name, value)| !name.contains('(') && !value.trim().is_empty())
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// A BPF object without programs: one variable for each type, so that BTF has
/// all of them, and the `#define`s as values of an enum.
fn types_source(header: &str) -> String {
    let mut text = String::from(
        "/* Made by build.rs from abi.h: one variable a type. */\n\
         #include <linux/types.h>\n#include <bpf/bpf_helpers.h>\n#include <terrace/abi.h>\n\
         enum abi_defines {\n",
    );
    for name in defines(header) {
        _ = writeln!(text, "\tDEFINE_{name} = {name},");
    }
    text.push_str("};\nenum abi_defines a_defines;\n");
    for keyword in ["struct", "enum"] {
        for name in declared(header, keyword) {
            _ = writeln!(text, "{keyword} {name} a_{keyword}_{name};");
        }
    }
    text.push_str("char _license[] SEC(\"license\") = \"Dual BSD/GPL\";\n");
    text
}

/// Implicit padding would carry uninitialised kernel stack into a table and
/// make two equal keys differ: abi.h declares all of it.
fn check_padding(btf: &Btf<'_>, structs: &[String]) -> Result<()> {
    for name in structs {
        let ty: Struct<'_> = btf
            .type_by_name(name)
            .with_context(|| format!("struct {name} is not in the BTF"))?;
        let mut end = 0;
        for member in ty.iter() {
            let MemberAttr::Normal { offset } = member.attr else {
                bail!("struct {name} has a bit field");
            };
            ensure!(
                offset == end,
                "struct {name} has a hole at byte {}",
                end / 8
            );
            let member_type = btf
                .type_by_id::<libbpf_rs::btf::BtfType<'_>>(member.ty)
                .context("a member without a type")?;
            end += 8 * u32::try_from(size_of_type(member_type)?)?;
        }
        ensure!(
            end as usize == 8 * ty.size(),
            "struct {name} has padding at its end"
        );
    }
    Ok(())
}

fn size_of_type(ty: libbpf_rs::btf::BtfType<'_>) -> Result<usize> {
    use libbpf_rs::btf::types::{Array, Int};
    let ty = ty.skip_mods_and_typedefs();
    if let Ok(array) = Array::try_from(ty) {
        return Ok(array.capacity() * size_of_type(array.contained_type())?);
    }
    if let Ok(composite) = Struct::try_from(ty) {
        return Ok(composite.size());
    }
    let int = Int::try_from(ty)
        .ok()
        .context("abi.h has structs, arrays and integers only")?;
    Ok(usize::from(int.bits / 8))
}

/// Every enum value and `#define` as a plain `u32`.
fn consts(btf: &Btf<'_>, header: &str) -> Result<String> {
    let mut enums = declared(header, "enum");
    enums.push("abi_defines".to_owned());
    let mut text = String::new();
    for name in enums {
        let ty: Enum<'_> = btf
            .type_by_name(&name)
            .with_context(|| format!("enum {name} is not in the BTF"))?;
        for value in ty.iter() {
            let constant = value
                .name
                .context("enum value without a name")?
                .to_string_lossy();
            let constant = constant.strip_prefix("DEFINE_").unwrap_or(&constant);
            let number = value.value as u64 as u32;
            _ = writeln!(
                text,
                "/// `{constant}` of abi.h.\npub const {constant}: u32 = {number};"
            );
        }
    }
    Ok(text)
}

fn plain(structs: &[String]) -> String {
    format!("plain!({});\n", structs.join(", "))
}

struct ReasonRow {
    number: u32,
    name: String,
    class: String,
    text: String,
}

/// The rows `X(number, NAME, CLASS, "text")` of the REASONS table.
fn parse_reasons(header: &str) -> Result<Vec<ReasonRow>> {
    let rows: Vec<ReasonRow> = header
        .lines()
        .filter_map(|line| line.trim().strip_prefix("X("))
        .map(|row| parse_reason(row).with_context(|| format!("REASONS row: X({row}")))
        .collect::<Result<_>>()?;
    ensure!(!rows.is_empty(), "abi.h has no REASONS table");
    Ok(rows)
}

fn parse_reason(row: &str) -> Result<ReasonRow> {
    let (head, rest) = row.split_once('"').context("no text")?;
    let (text, _) = rest.rsplit_once('"').context("the text does not end")?;
    let mut fields = head.split(',').map(str::trim);
    let mut field = || fields.next().context("a field is missing");
    Ok(ReasonRow {
        number: field()?.parse()?,
        name: field()?.to_owned(),
        class: field()?.to_owned(),
        text: text.to_owned(),
    })
}

fn reasons(rows: &[ReasonRow]) -> Result<String> {
    let mut text = String::from(
        "/// Why a packet left a program of Terrace; the numbers are those of abi.h.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         #[repr(u8)]\npub enum Reason {\n",
    );
    for row in rows {
        _ = writeln!(
            text,
            "    /// {}.\n    {} = {},",
            row.text,
            camel(&row.name),
            row.number
        );
    }
    text.push_str(
        "}\n\nimpl Reason {\n    /// All reasons, by number.\n    pub const ALL: &[Self] = &[",
    );
    for row in rows {
        _ = write!(text, "Self::{}, ", camel(&row.name));
    }
    text.push_str("];\n}\n\nconst ROWS: &[Row] = &[\n");
    for row in rows {
        ensure!(
            row.number < 128,
            "{}: numbers stay below REASON_MAX, of sockets below 128",
            row.name
        );
        _ = writeln!(
            text,
            "    Row {{ reason: Reason::{}, name: {:?}, class: Class::{}, text: {:?} }},",
            camel(&row.name),
            row.name.to_lowercase(),
            camel(&row.class),
            row.text
        );
    }
    text.push_str("];\n");
    Ok(text)
}

/// `TO_TC` -> `ToTc`.
fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_uppercase() + &rest.to_lowercase()
        })
        .collect()
}
