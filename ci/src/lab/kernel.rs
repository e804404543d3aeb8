//! A Debian kernel, unpacked: the image, the modules that the lab uses, and an
//! initial file system.

use super::apt::Apt;
use super::cache::{self, Cache};
use super::list::{KernelChoice, Lab};
use super::netdevsim;
use crate::shell::{self, captured};
use crate::workspace;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

pub struct Kernel {
    /// As `uname -r` says it.
    pub version: String,
    pub dir: PathBuf,
}

impl Kernel {
    pub fn image(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// Packs the guest's first file system: its init and the modules that mount
    /// the others.
    pub fn pack_initrd(&self, tools: &Path, boot: &[String], into: &Path) -> Result<()> {
        let dir = tempfile::tempdir().context("a folder for an initial file system")?;
        let root = dir.path();
        fs::create_dir(root.join("bin"))?;
        fs::copy(tools.join("bin/busybox"), root.join("bin/busybox")).context("busybox")?;
        let init = workspace::root().join("ci/nic-lab/guest/init");
        fs::copy(&init, root.join("init")).context("the guest's init")?;
        let modules = Path::new("lib/modules").join(&self.version);
        let all = self.dir.join("usr").join(&modules);
        select(&all, &root.join(&modules), boot)?;
        fs::copy(
            all.join("modules.dep"),
            root.join(&modules).join("modules.dep"),
        )?;
        fs::write(root.join("modules.boot"), boot.join("\n"))?;
        let pack = "chmod 755 init && find . | bin/busybox cpio -o -H newc > \"$1\"";
        let mut command = shell::command("sh", &["-c", pack, "sh"]);
        captured(command.arg(into).current_dir(root))?;
        Ok(())
    }
}

/// `builder` has the packages of its toolchain.
pub fn get(
    cache: &Cache,
    apt: &Apt,
    builder: Option<&Apt>,
    lab: &Lab,
    choice: &KernelChoice,
) -> Result<Kernel> {
    let depends = apt.depends(&choice.package)?;
    let is_image = |name: &&String| {
        let rest = name.strip_prefix("linux-image-");
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let image = depends.iter().find(is_image);
    let image = image.with_context(|| format!("{} depends on no kernel", choice.package))?;
    let version = image.trim_start_matches("linux-image-").to_owned();
    let mut hasher = DefaultHasher::new();
    (&lab.modules.boot, &lab.modules.guest, choice.netdevsim).hash(&mut hasher);
    let name = format!("{version}-{:08x}", hasher.finish() as u32);
    let dir = cache.dir.join("kernels").join(name);
    cache::once(&dir, |new| {
        eprintln!("lab: fetching Linux {version}");
        let build = Build {
            tools: &cache.tools,
            version: &version,
            apt,
            builder,
        };
        build.make(image, lab, choice, new)
    })?;
    Ok(Kernel { version, dir })
}

struct Build<'a> {
    tools: &'a Path,
    version: &'a str,
    apt: &'a Apt,
    builder: Option<&'a Apt>,
}

impl Build<'_> {
    fn make(&self, image: &str, lab: &Lab, choice: &KernelChoice, new: &Path) -> Result<()> {
        let whole = tempfile::tempdir_in(new).context("a folder for a kernel")?;
        let root = whole.path();
        self.apt.unpack(&self.packages(image)?, root)?;
        let modules = root.join("usr/lib/modules").join(self.version);
        let images = [
            root.join(format!("boot/vmlinuz-{}", self.version)),
            modules.join("vmlinuz"),
        ];
        let found = images.iter().find(|path| path.exists());
        let found = found.with_context(|| format!("no kernel in {image}"))?;
        fs::copy(found, new.join("vmlinuz"))?;
        let mut wanted = [lab.modules.boot.clone(), lab.modules.guest.clone()].concat();
        if choice.netdevsim {
            let into = modules.join("extra");
            match choice.builder.as_ref().zip(self.builder) {
                Some((with, apt)) => netdevsim::build_apart(apt, with, self.version, &into)?,
                None => netdevsim::build(self.apt, self.version, &into)?,
            }
            wanted.push("netdevsim".to_owned());
        }
        self.depmod(root)?;
        let small = new.join("usr/lib/modules").join(self.version);
        select(&modules, &small, &wanted)?;
        self.depmod(new)
    }

    /// The image, and since Linux 7 what it is made of.
    fn packages(&self, image: &str) -> Result<Vec<String>> {
        let ending = format!("-{}", self.version);
        let parts = self.apt.depends(image)?;
        let ours = parts.into_iter().filter(|name| name.ends_with(&ending));
        Ok(ours.chain([image.to_owned()]).collect())
    }

    fn depmod(&self, root: &Path) -> Result<()> {
        // depmod is kmod by another name, and Debian's link is absolute.
        let kmod = self.tools.join("usr/bin/kmod");
        let usr = root.join("lib");
        if !usr.exists() {
            std::os::unix::fs::symlink("usr/lib", usr)?;
        }
        let mut command = shell::command(&kmod.to_string_lossy(), &["-b"]);
        command.arg0("depmod");
        captured(command.arg(root).arg(self.version))?;
        Ok(())
    }
}

/// Copies modules and what they need, unpacked, as not every guest's loader can.
/// Names that the kernel has not as a module are left out.
fn select(from: &Path, to: &Path, wanted: &[String]) -> Result<()> {
    let dep = shell::read_file(&from.join("modules.dep"))?;
    fs::create_dir_all(to)?;
    for file in closure(&dep, wanted) {
        let target = to.join(file.trim_end_matches(".xz"));
        fs::create_dir_all(target.parent().context("a module is in a folder")?)?;
        let source = from.join(file);
        if file.ends_with(".xz") {
            let unpack = shell::command("sh", &["-c", "xz -dc \"$1\" > \"$2\"", "sh"]);
            let mut unpack = unpack;
            captured(unpack.arg(&source).arg(&target))?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("copy {file}"))?;
        }
    }
    for list in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        if from.join(list).exists() {
            fs::copy(from.join(list), to.join(list))?;
        }
    }
    Ok(())
}

/// The files of these modules and of all that they need, by modules.dep.
fn closure<'a>(dep: &'a str, wanted: &[String]) -> BTreeSet<&'a str> {
    let lines = dep.lines().filter_map(|line| line.split_once(':'));
    let needs: BTreeMap<&str, &str> = lines.collect();
    let named = |file: &&&str| wanted.iter().any(|name| *name == module_name(file));
    let mut files = BTreeSet::new();
    for file in needs.keys().filter(named) {
        files.insert(*file);
        files.extend(needs[file].split_whitespace());
    }
    files
}

fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    let stem = base.split(".ko").next().unwrap_or(base);
    stem.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_with_what_it_needs_and_no_other() {
        let dep = "kernel/fs/9p/9p.ko.xz: kernel/fs/netfs/netfs.ko.xz kernel/net/9p/9pnet.ko.xz\n\
                   kernel/net/9p/9pnet.ko.xz:\nkernel/fs/netfs/netfs.ko.xz:\nkernel/drivers/net/veth.ko.xz:\n";
        let wanted = ["9p".to_owned(), "absent".to_owned()];
        let files: Vec<&str> = closure(dep, &wanted).into_iter().collect();
        assert_eq!(
            files,
            [
                "kernel/fs/9p/9p.ko.xz",
                "kernel/fs/netfs/netfs.ko.xz",
                "kernel/net/9p/9pnet.ko.xz"
            ]
        );
    }
}
