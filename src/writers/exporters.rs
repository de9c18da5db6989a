//! Servers of files on this machine, which may give a store to other machines.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::processes;
use crate::proc::pids;

/// The programs that give directories to other machines, and what to call them: NFS in the kernel and in user space, SMB,
/// GlusterFS, 9P, AFP, and what virtual machines reach directories of their host by.
const SERVERS: [(&str, &str); 17] = [
    ("nfsd", "the NFS server of this machine"),
    ("rpc.mountd", "the NFS server of this machine"),
    ("ganesha.nfsd", "the NFS server ganesha.nfsd"),
    ("nfs-ganesha", "the NFS server nfs-ganesha"),
    ("unfsd", "the NFS server unfsd"),
    ("smbd", "the SMB server smbd"),
    ("samba", "the SMB server samba"),
    ("ksmbd.mountd", "the SMB server ksmbd"),
    ("glusterfsd", "the GlusterFS server glusterfsd"),
    ("diod", "the 9P server diod"),
    ("u9fs", "the 9P server u9fs"),
    ("npfs", "the 9P server npfs"),
    ("afpd", "the AFP server afpd"),
    ("virtiofsd", "virtiofsd"),
    ("VBoxHeadless", "VirtualBox"),
    ("VirtualBoxVM", "VirtualBox"),
    ("vmware-vmx", "VMware"),
];

/// The programs that do so with some arguments, how their names begin, and a part of such an argument: QEMU with 9P, and
/// whatever runs in it, and rclone.
const WITH_ARGUMENTS: [(&str, &[&str], &str); 3] = [
    ("qemu", &["virtfs", "fsdev", "virtio-9p", "vhost-user-fs", "fat:"], "QEMU"),
    ("kvm", &["virtfs", "fsdev", "virtio-9p", "vhost-user-fs", "fat:"], "QEMU"),
    ("rclone", &["serve"], "rclone"),
];

/// What gives directories of this machine to others, which may run a registry on them; in words.
pub(super) fn seen() -> Option<&'static str> {
    let exports = fs::read_to_string("/proc/fs/nfsd/exports").unwrap_or_default();
    if exports.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        return Some(SERVERS[0].1);
    }
    pids().find_map(|pid| {
        let process = processes::directory(pid);
        // Either may be another: a process names itself, and a link has any name.
        let program = fs::read_link(process.join("exe")).ok();
        let program = program.as_deref().and_then(Path::file_name).unwrap_or_default();
        let line = || fs::read(process.join("cmdline")).unwrap_or_default();
        let name = processes::name(pid);
        [OsStr::new(&name), program].into_iter().find_map(|name| server(name, line))
    })
}

/// The server that a process of this name is, with arguments that are separated by zeros.
fn server(name: &OsStr, line: impl Fn() -> Vec<u8>) -> Option<&'static str> {
    if let Some((_, words)) = SERVERS.iter().find(|(server, _)| name == *server) {
        return Some(words);
    }
    let mut begun = WITH_ARGUMENTS.iter().filter(|(start, ..)| name.as_bytes().starts_with(start.as_bytes()));
    let is_one = |(_, parts, _): &&(&str, &[&str], &str)| {
        let line = line();
        parts.iter().any(|part| memmem(&line, part.as_bytes()))
    };
    begun.find(is_one).map(|(_, _, words)| *words)
}

fn memmem(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_files_are_known_by_name_and_by_arguments() {
        let is_one = |line: &str| {
            let name = line.split(' ').next().expect("a name");
            server(OsStr::new(name), || line.replace(' ', "\0").into_bytes()).is_some()
        };
        for line in [
            "smbd --foreground",
            "ganesha.nfsd -F",
            "glusterfsd -s h",
            "virtiofsd",
            "nfsd",
            "qemu-system-x86 -virtfs local,path=/srv,mount_tag=x,security_model=none",
            "qemu-system-x86_64 -fsdev local,id=a,path=/srv -device virtio-9p-pci,fsdev=a",
            "rclone serve nfs /srv",
        ] {
            assert!(is_one(line), "{line}");
        }
        for line in ["qemu-system-x86 -drive file=disk.img", "rclone sync a b", "sshd -D", "sh -c smbd", "virtiofsd2"] {
            assert!(!is_one(line), "{line}");
        }
    }

    #[test]
    fn a_process_is_seen_by_the_name_of_its_program() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("ganesha.nfsd");
        std::os::unix::fs::symlink("/bin/sleep", &program).expect("made");
        let mut server = std::process::Command::new(&program).arg("60").spawn().expect("it starts");
        let seen = seen();
        server.kill().and_then(|()| server.wait()).expect("ours");
        assert!(seen.is_some(), "{seen:?}");
    }
}
