//! Findings: what is wrong or odd in a store. Failures of a run are [errors](crate::error).

mod needs;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

pub use self::needs::{Need, Needs};
use crate::escape::escaped;
use crate::format::plural;
use crate::oci::{Digest, RepositoryName, TagName};
use crate::store::{Stray, StrayKind, Unseen};

/// How much a finding matters. Notes alone leave the exit code at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something cannot be pulled, or a repository could not be collected.
    Error,
    /// Something may be wrong.
    Warning,
    /// Something odd but harmless.
    Note,
}

impl Severity {
    /// All severities, the most severe first.
    pub const ALL: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Note];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! codes {
    ($(#[doc = $doc:literal] $variant:ident = $code:literal, $severity:ident, $next:literal;)*) => {
        /// The kind of a finding. The names are stable; scripts may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $doc] $variant,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $code),* }
            }

            /// The severity.
            pub fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity),* }
            }

            /// The meaning, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $doc.trim_ascii()),* }
            }

            /// The operator's next step.
            pub fn next_step(self) -> &'static str {
                match self { $(Code::$variant => $next),* }
            }
        }
    };
}

codes! {
    /// A repository in which something cannot be understood: everything it links is kept.
    HeldRepository = "held-repository", Error,
        "repair what the other findings of this repository name, then collect again";
    /// A link file with nothing in it, as registries before 3.1 leave after a crash.
    EmptyLink = "empty-link", Error,
        "make it again with `regsweep repair` if its place says what it held; otherwise push the image again, or delete the link's directory if the image is not needed";
    /// A link file whose content is no digest.
    GarbledLink = "garbled-link", Error,
        "make it again with `regsweep repair` if its place says what it held; otherwise push the image again, or delete the link's directory if the image is not needed";
    /// A link file whose content names another digest than its directory.
    DisagreeingLink = "disagreeing-link", Error,
        "find out who wrote it; push the image again to restore the link";
    /// A `link` that is a directory, symbolic link, fifo, socket or device.
    IrregularLink = "irregular-link", Error,
        "remove it and push the image again";
    /// A manifest that a revision or a tag names is not in the store.
    MissingManifest = "missing-manifest", Error,
        "copy it from a mirror or a backup with `repair --from`, push the image again, or delete the revision; where the registry remembers blobs in a redis, first stop it and collect with `--flush-redis`";
    /// The manifest that a tag names now is not in the store: what it kept is unknown.
    MissingTagTarget = "missing-tag-target", Error,
        "copy it from a mirror or a backup with `repair --from`, push the tag again, or delete its directory; where the registry remembers blobs in a redis, first stop it and collect with `--flush-redis`";
    /// A layer or configuration that a kept manifest names is not in the store.
    MissingBlob = "missing-blob", Error,
        "copy it from a mirror or a backup with `repair --from`, or push the image again from where it was built; where the registry remembers blobs in a redis, first stop it and collect with `--flush-redis`";
    /// A manifest states another size for a blob than the blob has: clients refuse it.
    SizeMismatch = "size-mismatch", Error,
        "let `repair --from` or `regsweep verify --quarantine` read the blob, then push the image again if it is not mended; if that does not help, it was built wrong";
    /// A manifest's bytes do not match its digest.
    CorruptManifest = "corrupt-manifest", Error,
        "copy the right bytes with `repair --from`, or quarantine it with `regsweep verify --quarantine` and push the image again";
    /// A manifest's bytes are not one whole JSON object.
    UnreadableManifest = "unreadable-manifest", Error,
        "delete the revision and push the image again";
    /// A manifest that names more than 1,024 blobs that are not in the store.
    OverfullManifest = "overfull-manifest", Error,
        "delete the revision: no tool builds such an image";
    /// A repository that leads to more than 16,384 manifests, or 1 GiB of them, that it has no revision for.
    OverfullRepository = "overfull-repository", Error,
        "delete the revisions that name them, or push what they name to the repository";
    /// A manifest of more than 16 MiB, which no registry accepts.
    OversizedManifest = "oversized-manifest", Error,
        "delete the revision: the registry cannot have written it";
    /// A blob with nothing in it that should hold something.
    EmptyBlob = "empty-blob", Error,
        "copy the right bytes with `repair --from`, or quarantine it with `regsweep verify --quarantine` and push what needs it again";
    /// A blob that is shorter than its descriptors state, and does not match its digest.
    TruncatedBlob = "truncated-blob", Error,
        "copy the right bytes with `repair --from`, or quarantine it with `regsweep verify --quarantine` and push what needs it again";
    /// A blob that is longer than its descriptors state, and does not match its digest.
    OverlongBlob = "overlong-blob", Error,
        "copy the right bytes with `repair --from`, or quarantine it with `regsweep verify --quarantine` and push what needs it again";
    /// A blob's bytes do not match its digest.
    CorruptBlob = "corrupt-blob", Error,
        "quarantine it with `regsweep verify --quarantine`, then push what needs it again";
    /// A blob that could not be read to its end.
    UnreadableBlob = "unreadable-blob", Error,
        "look at the disk and the kernel's log; restore the file, or delete it and push what needs it again";
    /// A blob's `data` that is a directory, symbolic link, fifo, socket or device.
    IrregularData = "irregular-data", Error,
        "find out who made it; remove it and push what it was";
    /// A manifest here names a blob that is stored, but the repository has no layer link for it; the registry answers 404.
    MissingLayerLink = "missing-layer-link", Error,
        "make the link with `regsweep repair`, or push the image again";
    /// Something that cannot be listed or read: a collection stops there, and what it would free is not known.
    UnreadableEntry = "unreadable-entry", Error,
        "let the owner of the store read it, or mend the disk, then look again";
    /// There are blobs and nothing that needs any, or images and no blobs: part of the store is not there.
    EmptyStore = "empty-store", Error,
        "check that all of it is mounted before anything else";
    /// A target that was no longer what the plan had seen, and was left alone.
    ChangedTarget = "changed-target", Error,
        "something writes to the store; with --online the next run sees to it, without it stop that and collect again";
    /// A target that could not be removed.
    FailedRemoval = "failed-removal", Error,
        "remove the cause that the message names, and collect again";
    /// More blobs read wrong at once than are damaged by themselves: it looks like the disk, its controller or the memory.
    SuspectDisk = "suspect-disk", Error,
        "look at the kernel's log, the disk's own figures and the memory, then verify again; `--allow-many-damaged` quarantines them all the same";
    /// Something in quarantine that could not be restored.
    FailedRestore = "failed-restore", Error,
        "remove the cause that the message names and run it again, or move the file to its place by hand";
    /// Something in quarantine that could not be removed for good.
    FailedPurge = "failed-purge", Error,
        "remove the cause that the message names, and purge again";
    /// A link that `repair` was to make, and that is not there as it should be.
    FailedRepair = "failed-repair", Error,
        "remove the cause that the message names, and repair again";
    /// The redis in which the registry remembers blobs claims what the store does not have: the registry would accept images without it.
    StaleCache = "stale-cache", Warning,
        "collect with `--flush-redis` before the registry takes pushes";
    /// A child that a kept index names is not in the store: a platform that was not copied, or a lost image.
    MissingChild = "missing-child", Warning,
        "nothing, if the index was copied without this platform; otherwise copy it from a mirror or a backup with `repair --from`, or push it again";
    /// Something that is needed waits in quarantine: it is not lost, and the registry answers 404 until it is restored.
    Restorable = "restorable", Warning,
        "run any collection, which restores what is needed, or `regsweep restore`";
    /// A tag without a `current/link`.
    TagWithoutCurrent = "tag-without-current", Warning,
        "nothing if it is being deleted; otherwise push the tag again, name it to `regsweep repair` if its history names one manifest, or to `remove`";
    /// A tag names a manifest that the repository has no revision link for; the registry answers 404.
    LostRevision = "lost-revision", Warning,
        "make the link with `regsweep repair`, or push the tag again: its manifest and layers are still there";
    /// A repository whose name the registry does not accept, a backup copy for instance.
    InvalidName = "invalid-name", Warning,
        "move it out of the store if it is a copy; until then all it links is kept";
    /// Something that is reached through a symbolic link: read, and left alone.
    BehindSymlink = "behind-symlink", Warning,
        "nothing; what lies behind it is kept. For blobs to go, let the directory `blobs` itself be the link, and give --allow-shared-blobs";
    /// Something on another filesystem that is mounted inside the store: read, and left alone.
    BehindMount = "behind-mount", Warning,
        "nothing; what lies on it is kept. For blobs to go, let the directory `blobs` itself be what is mounted, and give --allow-shared-blobs";
    /// A blob directory that holds something, but no `data`.
    MissingData = "missing-data", Warning,
        "look at what is in the directory; remove it if it is a leftover";
    /// A child that an index here names is stored, but the repository has no revision link for it; the registry answers 404.
    LostChild = "lost-child", Warning,
        "make the link with `regsweep repair`, or nothing if the index was copied without this platform";
    /// A layer link whose blob is not in the store, and that no manifest here names.
    BrokenLayerLink = "broken-layer-link", Note,
        "nothing, a collection removes it; after a purge by regsweep the next one does. If it appears again without a purge, find out who removes blobs";
    /// A tag whose name the registry does not accept.
    InvalidTagName = "invalid-tag-name", Warning,
        "inspect it; remove its directory if it is not needed";
    /// A modification time that lies in the future: the file is never old enough to go.
    FutureTime = "future-time", Warning,
        "set the clock right, then give the files a time of today with `touch`, and collect when they are older than --min-age";
    /// GitLab's database, not this store, knows what is needed: what is said here of unused things does not count.
    GitlabDatabase = "gitlab-database", Warning,
        "collect with GitLab's registry; delete the file if its database is not used any more";
    /// The configuration is Harbor's, whose tags are in its database: untagged revisions here may be its artifacts.
    HarborDatabase = "harbor-database", Note,
        "collect with Harbor, or without --delete-untagged";
    /// The registry is a pull-through cache, which fetches what is missing and drops what expires.
    PullThroughCache = "pull-through-cache", Note,
        "nothing; the registry fetches what is missing on the next pull";
    /// A manifest that refers to a subject which is neither stored nor known to the repository.
    OrphanedReferrer = "orphaned-referrer", Note,
        "delete the manifest, if its subject is not to come";
    /// A tag that carries a signature or the like, named after an image that the repository does not know.
    OrphanedSignature = "orphaned-signature", Note,
        "delete the tag, if the image is not to come";
    /// Revisions that no tag reaches.
    UntaggedRevisions = "untagged-revisions", Note,
        "collect with --delete-untagged, unless clients pull them by digest";
    /// Layer links that no manifest in the repository needs.
    UnneededLayerLinks = "unneeded-layer-links", Note,
        "collect";
    /// Entries in the history of tags whose revisions were deleted.
    StaleHistory = "stale-history", Note,
        "collect";
    /// A blob that no repository links: garbage, whichever program owns the store.
    UnlinkedBlob = "unlinked-blob", Note,
        "collect";
    /// A blob that does not match its digest yet, and is being written.
    BlobInProgress = "blob-in-progress", Note,
        "nothing; verify again when it has been written";
    /// A link or a tag that is younger than `--min-age` and not complete: a push or a deletion is under way, or was cut off just now.
    WorkUnderWay = "work-under-way", Note,
        "nothing; what is still so when it is older than that is reported as damage";
    /// An upload that was not continued for a week.
    StaleUpload = "stale-upload", Note,
        "`regsweep garbage-collect --uploads-older-than 7d` removes it, or the registry's own uploadpurging, which in a bucket leaves what was sent";
    /// A tag's directory in which no link is left: a registry lists the tag, and answers 404 for it.
    EmptyTag = "empty-tag", Note,
        "nothing: a collection beside no running registry removes it once it is older than --min-age";
    /// What a cancelled upload has left, which the registry never removes.
    HalfCancelledUpload = "half-cancelled-upload", Note,
        "`regsweep garbage-collect --uploads-older-than 7d` removes it";
    /// A file that a crash has left beside the one that it was to become.
    LeftoverFile = "leftover-file", Note,
        "delete it while the registry is stopped";
    /// A repository without a revision and without a tag.
    EmptyRepository = "empty-repository", Note,
        "delete its directory, or its keys in a bucket, while the registry is stopped, if nothing is to come";
    /// A manifest that refers to more than 16 subjects: it is kept as if it referred to all that is kept.
    ManySubjects = "many-subjects", Note,
        "delete the revision: no tool builds such an image";
    /// Most of the store was changed just now, and the filesystem does not tell when files were made.
    RecentChanges = "recent-changes", Note,
        "wait until that is an hour ago; a collection stops until then";
    /// Files and directories that a NAS, NFS or a desktop leaves wherever it looks.
    SystemFile = "system-file", Note,
        "nothing; they are left alone";
    /// A repository that is reached by a mount or a symbolic link in its place, or that such a link leads to: its images count, and nothing in it is removed.
    RepositoryElsewhere = "repository-elsewhere", Note,
        "nothing; a volume of its own is a legitimate place. To collect it, too, have all of `repositories` on one filesystem and without such links";
    /// Multipart uploads that were begun and not ended, and that are of no upload of a registry.
    OtherMultipartUploads = "other-multipart-uploads", Note,
        "nothing; they are left alone. A lifecycle rule with `AbortIncompleteMultipartUpload` ends them";
    /// Multipart uploads that were begun and not ended cannot be seen: what was sent of uploads is not counted, and stays when they go.
    UnseenUploads = "unseen-uploads", Note,
        "give the right that is named, if the server knows it; otherwise let a lifecycle rule with `AbortIncompleteMultipartUpload` end them";
    /// An entry that matches no rule of the layout.
    UnrecognisedEntry = "unrecognised-entry", Note,
        "nothing; it was left alone";
}

impl Code {
    /// Whether named content is not stored. In a pull-through cache that is no fault: the registry fetches it on demand.
    pub fn is_absence(self) -> bool {
        use Code::{MissingBlob, MissingChild, MissingManifest, MissingTagTarget};
        matches!(self, MissingBlob | MissingChild | MissingManifest | MissingTagTarget)
    }

    /// Whether it is about a blob, whichever repository it was met in. It is then one finding for the whole store.
    pub fn is_about_blob(self) -> bool {
        matches!(
            self,
            Code::MissingManifest
                | Code::MissingBlob
                | Code::MissingChild
                | Code::CorruptManifest
                | Code::UnreadableManifest
                | Code::OverfullManifest
                | Code::OversizedManifest
                | Code::IrregularData
        )
    }

    /// Whether a name cannot be understood, or lies where nothing goes: its repository is held for it.
    pub fn is_of_held_name(self) -> bool {
        matches!(
            self,
            Code::InvalidName
                | Code::BehindSymlink
                | Code::BehindMount
                | Code::EmptyLink
                | Code::GarbledLink
                | Code::DisagreeingLink
                | Code::IrregularLink
                | Code::OverfullRepository
                | Code::UnreadableEntry
        )
    }

    /// Whether stored content is not needed.
    pub fn is_waste(self) -> bool {
        use Code::{EmptyRepository, EmptyStore, StaleHistory, UnlinkedBlob, UnneededLayerLinks, UntaggedRevisions};
        matches!(self, EmptyRepository | EmptyStore | StaleHistory | UnlinkedBlob | UnneededLayerLinks | UntaggedRevisions)
    }

    /// The finding for a stray entry.
    pub fn of_stray(kind: StrayKind) -> Code {
        match kind {
            StrayKind::Symlink => Code::BehindSymlink,
            StrayKind::Mount => Code::BehindMount,
            StrayKind::SystemFile => Code::SystemFile,
            StrayKind::Unrecognised => Code::UnrecognisedEntry,
            StrayKind::Multiparts(_) => Code::OtherMultipartUploads,
            StrayKind::Unseen(_) => Code::UnseenUploads,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One finding. Findings order by severity, code and place, so that two runs can be compared line by line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// The kind.
    pub code: Code,
    /// Where: the repository.
    pub repository: Option<RepositoryName>,
    /// Where: the tag.
    pub tag: Option<TagName>,
    /// Where: the manifest or blob.
    pub digest: Option<Digest>,
    /// Where: the path, relative to the root.
    pub path: Option<PathBuf>,
    /// Details that the code and the place do not give.
    pub detail: Option<String>,
    /// The images that cannot be pulled because of it.
    pub needed_by: Needs,
    /// Number of entries that it stands for.
    pub count: u64,
}

impl Finding {
    /// A finding of a kind, without a place.
    pub fn new(code: Code) -> Finding {
        let (repository, tag, digest, path, detail) = (None, None, None, None, None);
        Finding { severity: code.severity(), code, repository, tag, digest, path, detail, needed_by: Needs::default(), count: 1 }
    }

    /// The finding for a stray entry, with its place.
    pub fn of_stray(stray: &Stray) -> Finding {
        let code = Code::of_stray(stray.kind);
        let finding = Finding::new(code).path(&stray.path);
        match stray.kind {
            StrayKind::Multiparts(count) => {
                let uploads = plural(count, "multipart upload was", "multipart uploads were");
                let detail = format!("{uploads} begun and not ended under keys that are of no upload of a registry.");
                finding.count(count).detail(detail)
            }
            StrayKind::Unseen(why) => {
                let why = match why {
                    Unseen::Denied(right) => format!("the credentials lack {right}"),
                    Unseen::Unsupported => "the server has no request for that".to_owned(),
                    Unseen::NoAnswer => "what the server answers is no whole listing of them".to_owned(),
                };
                finding.detail(format!("{} The reason: {why}.", code.meaning()))
            }
            StrayKind::Symlink | StrayKind::Mount | StrayKind::SystemFile | StrayKind::Unrecognised => finding,
        }
    }

    /// Sets the repository.
    pub fn repository(mut self, repository: &RepositoryName) -> Finding {
        self.repository = Some(repository.clone());
        self
    }

    /// Sets the tag.
    pub fn tag(mut self, tag: &TagName) -> Finding {
        self.tag = Some(tag.clone());
        self
    }

    /// Sets the digest.
    pub fn digest(mut self, digest: &Digest) -> Finding {
        self.digest = Some(*digest);
        self
    }

    /// Sets the path.
    pub fn path(mut self, path: impl AsRef<Path>) -> Finding {
        self.path = Some(path.as_ref().to_owned());
        self
    }

    /// Sets the details.
    pub fn detail(mut self, detail: impl Into<String>) -> Finding {
        self.detail = Some(detail.into());
        self
    }

    /// Sets the number of entries that it stands for.
    pub fn count(mut self, count: u64) -> Finding {
        self.count = count;
        self
    }

    /// Sets the images that cannot be pulled because of it.
    pub fn needed_by(mut self, needs: Needs) -> Finding {
        self.needed_by = needs;
        self
    }

    /// Number of findings that it counts as. All files that a NAS leaves are one finding, and so are multipart uploads.
    pub fn number(&self) -> u64 {
        match self.code {
            Code::SystemFile | Code::OtherMultipartUploads => 1,
            _ => self.count,
        }
    }

    /// The finding, in a sentence.
    pub fn message(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.code.meaning())
    }

    /// The operator's next step.
    pub fn next_step(&self) -> &'static str {
        self.code.next_step()
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;

        let mut object = serializer.serialize_struct("Finding", 11)?;
        object.serialize_field("code", &self.code)?;
        object.serialize_field("severity", &self.severity)?;
        object.serialize_field("repository", &self.repository.as_ref().map(ToString::to_string))?;
        object.serialize_field("tag", &self.tag.as_ref().map(ToString::to_string))?;
        object.serialize_field("digest", &self.digest.as_ref().map(ToString::to_string))?;
        object.serialize_field("path", &self.path.as_ref().map(escaped))?;
        object.serialize_field("message", self.message())?;
        object.serialize_field("next_step", self.next_step())?;
        object.serialize_field("needed_by", &self.needed_by.first)?;
        object.serialize_field("needed_by_more", &self.needed_by.more)?;
        object.serialize_field("count", &self.count)?;
        object.end()
    }
}
