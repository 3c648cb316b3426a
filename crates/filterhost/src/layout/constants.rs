//! Numbers of the Windows headers that host and drivers agree on.
#![expect(
    non_upper_case_globals,
    reason = "enumerators keep their Windows names"
)]
#![expect(
    missing_docs,
    reason = "each name is that of the documented Windows constant"
)]

// Major functions.
pub const IRP_MJ_CREATE: u8 = 0;
pub const IRP_MJ_CREATE_NAMED_PIPE: u8 = 1;
pub const IRP_MJ_CLOSE: u8 = 2;
pub const IRP_MJ_READ: u8 = 3;
pub const IRP_MJ_WRITE: u8 = 4;
pub const IRP_MJ_QUERY_INFORMATION: u8 = 5;
pub const IRP_MJ_SET_INFORMATION: u8 = 6;
pub const IRP_MJ_QUERY_EA: u8 = 7;
pub const IRP_MJ_SET_EA: u8 = 8;
pub const IRP_MJ_FLUSH_BUFFERS: u8 = 9;
pub const IRP_MJ_QUERY_VOLUME_INFORMATION: u8 = 0xa;
pub const IRP_MJ_SET_VOLUME_INFORMATION: u8 = 0xb;
pub const IRP_MJ_DIRECTORY_CONTROL: u8 = 0xc;
pub const IRP_MJ_FILE_SYSTEM_CONTROL: u8 = 0xd;
pub const IRP_MJ_DEVICE_CONTROL: u8 = 0xe;
pub const IRP_MJ_SHUTDOWN: u8 = 0x10;
pub const IRP_MJ_LOCK_CONTROL: u8 = 0x11;
pub const IRP_MJ_CLEANUP: u8 = 0x12;
pub const IRP_MJ_CREATE_MAILSLOT: u8 = 0x13;
pub const IRP_MJ_QUERY_SECURITY: u8 = 0x14;
pub const IRP_MJ_SET_SECURITY: u8 = 0x15;
pub const IRP_MJ_QUERY_QUOTA: u8 = 0x19;
pub const IRP_MJ_SET_QUOTA: u8 = 0x1a;
pub const IRP_MJ_PNP: u8 = 0x1b;
pub const IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION: u8 = 0xff;
pub const IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION: u8 = 0xfe;
pub const IRP_MJ_ACQUIRE_FOR_MOD_WRITE: u8 = 0xfd;
pub const IRP_MJ_RELEASE_FOR_MOD_WRITE: u8 = 0xfc;
pub const IRP_MJ_ACQUIRE_FOR_CC_FLUSH: u8 = 0xfb;
pub const IRP_MJ_RELEASE_FOR_CC_FLUSH: u8 = 0xfa;
pub const IRP_MJ_QUERY_OPEN: u8 = 0xf9;
pub const IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE: u8 = 0xf3;
pub const IRP_MJ_NETWORK_QUERY_OPEN: u8 = 0xf2;
pub const IRP_MJ_MDL_READ: u8 = 0xf1;
pub const IRP_MJ_MDL_READ_COMPLETE: u8 = 0xf0;
pub const IRP_MJ_PREPARE_MDL_WRITE: u8 = 0xef;
pub const IRP_MJ_MDL_WRITE_COMPLETE: u8 = 0xee;
pub const IRP_MJ_VOLUME_MOUNT: u8 = 0xed;
pub const IRP_MJ_VOLUME_DISMOUNT: u8 = 0xec;
pub const IRP_MJ_OPERATION_END: u8 = 0x80;

// Minor functions.
pub const IRP_MN_USER_FS_REQUEST: u8 = 0;
pub const IRP_MN_MOUNT_VOLUME: u8 = 1;
pub const IRP_MN_VERIFY_VOLUME: u8 = 2;
pub const IRP_MN_KERNEL_CALL: u8 = 4;
pub const IRP_MN_QUERY_DIRECTORY: u8 = 1;
pub const IRP_MN_NOTIFY_CHANGE_DIRECTORY: u8 = 2;

// Flags of a request's IRP.
pub const IRP_NOCACHE: u32 = 1;
pub const IRP_PAGING_IO: u32 = 2;
pub const IRP_SYNCHRONOUS_API: u32 = 4;
pub const IRP_CREATE_OPERATION: u32 = 0x80;
pub const IRP_READ_OPERATION: u32 = 0x100;
pub const IRP_WRITE_OPERATION: u32 = 0x200;
pub const IRP_CLOSE_OPERATION: u32 = 0x400;
pub const IRP_SYNCHRONOUS_PAGING_IO: u32 = 0x40;

// Flags of callback data.
pub const FLTFL_CALLBACK_DATA_IRP_OPERATION: u32 = 1;
pub const FLTFL_CALLBACK_DATA_FAST_IO_OPERATION: u32 = 2;
pub const FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION: u32 = 4;
pub const FLTFL_CALLBACK_DATA_SYSTEM_BUFFER: u32 = 8;
pub const FLTFL_CALLBACK_DATA_GENERATED_IO: u32 = 0x10000;
pub const FLTFL_CALLBACK_DATA_REISSUED_IO: u32 = 0x20000;
pub const FLTFL_CALLBACK_DATA_DRAINING_IO: u32 = 0x40000;
pub const FLTFL_CALLBACK_DATA_POST_OPERATION: u32 = 0x80000;
pub const FLTFL_CALLBACK_DATA_NEW_SYSTEM_BUFFER: u32 = 0x100000;
pub const FLTFL_CALLBACK_DATA_DIRTY: u32 = 0x80000000;

// What a pre-operation callback returns.
pub const FLT_PREOP_SUCCESS_WITH_CALLBACK: u32 = 0;
pub const FLT_PREOP_SUCCESS_NO_CALLBACK: u32 = 1;
pub const FLT_PREOP_PENDING: u32 = 2;
pub const FLT_PREOP_DISALLOW_FASTIO: u32 = 3;
pub const FLT_PREOP_COMPLETE: u32 = 4;
pub const FLT_PREOP_SYNCHRONIZE: u32 = 5;
pub const FLT_PREOP_DISALLOW_FSFILTER_IO: u32 = 6;

// What a post-operation callback returns.
pub const FLT_POSTOP_FINISHED_PROCESSING: u32 = 0;
pub const FLT_POSTOP_MORE_PROCESSING_REQUIRED: u32 = 1;
pub const FLT_POSTOP_DISALLOW_FSFILTER_IO: u32 = 2;

// Flags of a post-operation callback.
pub const FLTFL_POST_OPERATION_DRAINING: u32 = 1;

// Flags of an operation registration.
pub const FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO: u32 = 1;
pub const FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO: u32 = 2;
pub const FLTFL_OPERATION_REGISTRATION_SKIP_NON_DASD_IO: u32 = 4;
pub const FLTFL_OPERATION_REGISTRATION_SKIP_NON_CACHED_NON_PAGING_IO: u32 = 8;

// Flags of a registration.
pub const FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP: u32 = 1;
pub const FLTFL_REGISTRATION_SUPPORT_NPFS_MSFS: u32 = 2;
pub const FLTFL_REGISTRATION_SUPPORT_DAX_VOLUME: u32 = 4;
pub const FLTFL_REGISTRATION_SUPPORT_WCOS: u32 = 8;
pub const FLTFL_FILTER_UNLOAD_MANDATORY: u32 = 1;

// Registration versions.
pub const FLT_REGISTRATION_VERSION_0200: u16 = 0x200;
pub const FLT_REGISTRATION_VERSION_0201: u16 = 0x201;
pub const FLT_REGISTRATION_VERSION_0202: u16 = 0x202;
pub const FLT_REGISTRATION_VERSION_0203: u16 = 0x203;

// Context types.
pub const FLT_VOLUME_CONTEXT: u16 = 1;
pub const FLT_INSTANCE_CONTEXT: u16 = 2;
pub const FLT_FILE_CONTEXT: u16 = 4;
pub const FLT_STREAM_CONTEXT: u16 = 8;
pub const FLT_STREAMHANDLE_CONTEXT: u16 = 0x10;
pub const FLT_TRANSACTION_CONTEXT: u16 = 0x20;
pub const FLT_SECTION_CONTEXT: u16 = 0x40;
pub const FLT_CONTEXT_END: u16 = 0xffff;
pub const FLTFL_CONTEXT_REGISTRATION_NO_EXACT_SIZE_MATCH: u16 = 1;

// How a context is set.
pub const FLT_SET_CONTEXT_REPLACE_IF_EXISTS: u32 = 0;
pub const FLT_SET_CONTEXT_KEEP_IF_EXISTS: u32 = 1;

// Why an instance is set up or torn down.
pub const FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT: u32 = 1;
pub const FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT: u32 = 2;
pub const FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME: u32 = 4;
pub const FLTFL_INSTANCE_SETUP_DETACHED_VOLUME: u32 = 8;
pub const FLTFL_INSTANCE_TEARDOWN_MANUAL: u32 = 1;
pub const FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD: u32 = 2;
pub const FLTFL_INSTANCE_TEARDOWN_MANDATORY_FILTER_UNLOAD: u32 = 4;
pub const FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT: u32 = 8;
pub const FLTFL_INSTANCE_TEARDOWN_INTERNAL_ERROR: u32 = 0x10;

// File system types.
pub const FLT_FSTYPE_UNKNOWN: u32 = 0;
pub const FLT_FSTYPE_RAW: u32 = 1;
pub const FLT_FSTYPE_NTFS: u32 = 2;
pub const FLT_FSTYPE_FAT: u32 = 3;
pub const FLT_FSTYPE_CDFS: u32 = 4;
pub const FLT_FSTYPE_UDFS: u32 = 5;
pub const FLT_FSTYPE_LANMAN: u32 = 6;
pub const FLT_FSTYPE_MUP: u32 = 0xd;
pub const FLT_FSTYPE_EXFAT: u32 = 0x16;
pub const FLT_FSTYPE_NPFS: u32 = 0x19;
pub const FLT_FSTYPE_MSFS: u32 = 0x1a;
pub const FLT_FSTYPE_CSVFS: u32 = 0x1b;
pub const FLT_FSTYPE_REFS: u32 = 0x1c;
pub const FLT_FSTYPE_CIMFS: u32 = 0x1e;

// Device types and characteristics.
pub const FILE_DEVICE_CD_ROM: u32 = 2;
pub const FILE_DEVICE_CD_ROM_FILE_SYSTEM: u32 = 3;
pub const FILE_DEVICE_DISK: u32 = 7;
pub const FILE_DEVICE_DISK_FILE_SYSTEM: u32 = 8;
pub const FILE_DEVICE_NETWORK_FILE_SYSTEM: u32 = 0x14;
pub const FILE_REMOVABLE_MEDIA: u32 = 1;
pub const FILE_READ_ONLY_DEVICE: u32 = 2;
pub const FILE_REMOTE_DEVICE: u32 = 0x10;
pub const FILE_DEVICE_IS_MOUNTED: u32 = 0x20;

// Flags of a file object.
pub const FO_FILE_OPEN: u32 = 1;
pub const FO_SYNCHRONOUS_IO: u32 = 2;
pub const FO_ALERTABLE_IO: u32 = 4;
pub const FO_NO_INTERMEDIATE_BUFFERING: u32 = 8;
pub const FO_WRITE_THROUGH: u32 = 0x10;
pub const FO_SEQUENTIAL_ONLY: u32 = 0x20;
pub const FO_CACHE_SUPPORTED: u32 = 0x40;
pub const FO_NAMED_PIPE: u32 = 0x80;
pub const FO_STREAM_FILE: u32 = 0x100;
pub const FO_MAILSLOT: u32 = 0x200;
pub const FO_DIRECT_DEVICE_OPEN: u32 = 0x800;
pub const FO_FILE_MODIFIED: u32 = 0x1000;
pub const FO_FILE_SIZE_CHANGED: u32 = 0x2000;
pub const FO_CLEANUP_COMPLETE: u32 = 0x4000;
pub const FO_TEMPORARY_FILE: u32 = 0x8000;
pub const FO_DELETE_ON_CLOSE: u32 = 0x10000;
pub const FO_OPENED_CASE_SENSITIVE: u32 = 0x20000;
pub const FO_HANDLE_CREATED: u32 = 0x40000;
pub const FO_FILE_FAST_IO_READ: u32 = 0x80000;
pub const FO_RANDOM_ACCESS: u32 = 0x100000;
pub const FO_FILE_OPEN_CANCELLED: u32 = 0x200000;
pub const FO_VOLUME_OPEN: u32 = 0x400000;
pub const FO_REMOTE_ORIGIN: u32 = 0x1000000;

// Flags of a create's stack location.
pub const SL_FORCE_ACCESS_CHECK: u8 = 1;
pub const SL_OPEN_PAGING_FILE: u8 = 2;
pub const SL_OPEN_TARGET_DIRECTORY: u8 = 4;
pub const SL_STOP_ON_SYMLINK: u8 = 8;
pub const SL_IGNORE_READONLY_ATTRIBUTE: u8 = 0x40;
pub const SL_CASE_SENSITIVE: u8 = 0x80;

// Create options.
pub const FILE_DIRECTORY_FILE: u32 = 1;
pub const FILE_WRITE_THROUGH: u32 = 2;
pub const FILE_SEQUENTIAL_ONLY: u32 = 4;
pub const FILE_NO_INTERMEDIATE_BUFFERING: u32 = 8;
pub const FILE_SYNCHRONOUS_IO_ALERT: u32 = 0x10;
pub const FILE_SYNCHRONOUS_IO_NONALERT: u32 = 0x20;
pub const FILE_NON_DIRECTORY_FILE: u32 = 0x40;
pub const FILE_COMPLETE_IF_OPLOCKED: u32 = 0x100;
pub const FILE_NO_EA_KNOWLEDGE: u32 = 0x200;
pub const FILE_OPEN_REMOTE_INSTANCE: u32 = 0x400;
pub const FILE_RANDOM_ACCESS: u32 = 0x800;
pub const FILE_DELETE_ON_CLOSE: u32 = 0x1000;
pub const FILE_OPEN_BY_FILE_ID: u32 = 0x2000;
pub const FILE_OPEN_FOR_BACKUP_INTENT: u32 = 0x4000;
pub const FILE_NO_COMPRESSION: u32 = 0x8000;
pub const FILE_OPEN_REQUIRING_OPLOCK: u32 = 0x10000;
pub const FILE_RESERVE_OPFILTER: u32 = 0x100000;
pub const FILE_OPEN_REPARSE_POINT: u32 = 0x200000;
pub const FILE_OPEN_NO_RECALL: u32 = 0x400000;

// Dispositions of a create.
pub const FILE_SUPERSEDE: u32 = 0;
pub const FILE_OPEN: u32 = 1;
pub const FILE_CREATE: u32 = 2;
pub const FILE_OPEN_IF: u32 = 3;
pub const FILE_OVERWRITE: u32 = 4;
pub const FILE_OVERWRITE_IF: u32 = 5;

// What a create did (`IoStatus.Information`).
pub const FILE_SUPERSEDED: usize = 0;
pub const FILE_OPENED: usize = 1;
pub const FILE_CREATED: usize = 2;
pub const FILE_OVERWRITTEN: usize = 3;
pub const FILE_EXISTS: usize = 4;
pub const FILE_DOES_NOT_EXIST: usize = 5;

// Access rights.
pub const FILE_READ_DATA: u32 = 1;
pub const FILE_WRITE_DATA: u32 = 2;
pub const FILE_APPEND_DATA: u32 = 4;
pub const FILE_READ_EA: u32 = 8;
pub const FILE_WRITE_EA: u32 = 0x10;
pub const FILE_EXECUTE: u32 = 0x20;
pub const FILE_DELETE_CHILD: u32 = 0x40;
pub const FILE_READ_ATTRIBUTES: u32 = 0x80;
pub const FILE_WRITE_ATTRIBUTES: u32 = 0x100;
pub const DELETE: u32 = 0x10000;
pub const READ_CONTROL: u32 = 0x20000;
pub const WRITE_DAC: u32 = 0x40000;
pub const WRITE_OWNER: u32 = 0x80000;
pub const SYNCHRONIZE: u32 = 0x100000;
pub const ACCESS_SYSTEM_SECURITY: u32 = 0x1000000;
pub const MAXIMUM_ALLOWED: u32 = 0x2000000;
pub const GENERIC_ALL: u32 = 0x10000000;
pub const GENERIC_EXECUTE: u32 = 0x20000000;
pub const GENERIC_WRITE: u32 = 0x40000000;
pub const GENERIC_READ: u32 = 0x80000000;

// Share access.
pub const FILE_SHARE_READ: u16 = 1;
pub const FILE_SHARE_WRITE: u16 = 2;
pub const FILE_SHARE_DELETE: u16 = 4;

// File attributes.
pub const FILE_ATTRIBUTE_READONLY: u32 = 1;
pub const FILE_ATTRIBUTE_HIDDEN: u32 = 2;
pub const FILE_ATTRIBUTE_SYSTEM: u32 = 4;
pub const FILE_ATTRIBUTE_DIRECTORY: u32 = 0x10;
pub const FILE_ATTRIBUTE_ARCHIVE: u32 = 0x20;
pub const FILE_ATTRIBUTE_NORMAL: u32 = 0x80;
pub const FILE_ATTRIBUTE_TEMPORARY: u32 = 0x100;
pub const FILE_ATTRIBUTE_SPARSE_FILE: u32 = 0x200;
pub const FILE_ATTRIBUTE_REPARSE_POINT: u32 = 0x400;
pub const FILE_ATTRIBUTE_OFFLINE: u32 = 0x1000;
pub const FILE_ATTRIBUTE_ENCRYPTED: u32 = 0x4000;
pub const FILE_ATTRIBUTE_RECALL_ON_OPEN: u32 = 0x40000;
pub const FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS: u32 = 0x400000;

// File system attributes.
pub const FILE_CASE_SENSITIVE_SEARCH: u32 = 1;
pub const FILE_CASE_PRESERVED_NAMES: u32 = 2;
pub const FILE_UNICODE_ON_DISK: u32 = 4;
pub const FILE_SUPPORTS_REPARSE_POINTS: u32 = 0x80;
pub const FILE_NAMED_STREAMS: u32 = 0x40000;
pub const FILE_READ_ONLY_VOLUME: u32 = 0x80000;
pub const FILE_SUPPORTS_HARD_LINKS: u32 = 0x400000;
pub const FILE_SUPPORTS_OPEN_BY_FILE_ID: u32 = 0x1000000;
pub const FILE_DAX_VOLUME: u32 = 0x20000000;

// File information classes.
pub const FileDirectoryInformation: i32 = 1;
pub const FileBasicInformation: i32 = 4;
pub const FileStandardInformation: i32 = 5;
pub const FileInternalInformation: i32 = 6;
pub const FileEaInformation: i32 = 7;
pub const FileAccessInformation: i32 = 8;
pub const FileNameInformation: i32 = 9;
pub const FileRenameInformation: i32 = 0xa;
pub const FileLinkInformation: i32 = 0xb;
pub const FileNamesInformation: i32 = 0xc;
pub const FileDispositionInformation: i32 = 0xd;
pub const FilePositionInformation: i32 = 0xe;
pub const FileModeInformation: i32 = 0x10;
pub const FileAlignmentInformation: i32 = 0x11;
pub const FileAllInformation: i32 = 0x12;
pub const FileAllocationInformation: i32 = 0x13;
pub const FileEndOfFileInformation: i32 = 0x14;
pub const FileAlternateNameInformation: i32 = 0x15;
pub const FileStreamInformation: i32 = 0x16;
pub const FileNetworkOpenInformation: i32 = 0x22;
pub const FileAttributeTagInformation: i32 = 0x23;
pub const FileValidDataLengthInformation: i32 = 0x27;
pub const FileShortNameInformation: i32 = 0x28;
pub const FileNormalizedNameInformation: i32 = 0x30;
pub const FileRenameInformationBypassAccessCheck: i32 = 0x38;
pub const FileLinkInformationBypassAccessCheck: i32 = 0x39;
pub const FileIdInformation: i32 = 0x3b;
pub const FileDispositionInformationEx: i32 = 0x40;
pub const FileRenameInformationEx: i32 = 0x41;
pub const FileRenameInformationExBypassAccessCheck: i32 = 0x42;
pub const FileLinkInformationEx: i32 = 0x48;
pub const FileLinkInformationExBypassAccessCheck: i32 = 0x49;

// Volume information classes.
pub const FileFsVolumeInformation: i32 = 1;
pub const FileFsSizeInformation: i32 = 3;
pub const FileFsDeviceInformation: i32 = 4;
pub const FileFsAttributeInformation: i32 = 5;
pub const FileFsFullSizeInformation: i32 = 7;
pub const FileFsObjectIdInformation: i32 = 8;
pub const FileFsSectorSizeInformation: i32 = 0xb;

// Flags of rename, link and disposition.
pub const FILE_RENAME_REPLACE_IF_EXISTS: u32 = 1;
pub const FILE_RENAME_POSIX_SEMANTICS: u32 = 2;
pub const FILE_DISPOSITION_DELETE: u32 = 1;
pub const FILE_DISPOSITION_POSIX_SEMANTICS: u32 = 2;

// File system controls.
pub const FSCTL_LOCK_VOLUME: u32 = 0x90018;
pub const FSCTL_UNLOCK_VOLUME: u32 = 0x9001c;
pub const FSCTL_DISMOUNT_VOLUME: u32 = 0x90020;
pub const FSCTL_SET_REPARSE_POINT: u32 = 0x900a4;
pub const FSCTL_GET_REPARSE_POINT: u32 = 0x900a8;
pub const FSCTL_DELETE_REPARSE_POINT: u32 = 0x900ac;
pub const FSCTL_SET_SPARSE: u32 = 0x900c4;
pub const FSCTL_SET_ZERO_DATA: u32 = 0x980c8;
pub const FSCTL_OFFLOAD_READ: u32 = 0x94264;
pub const FSCTL_OFFLOAD_WRITE: u32 = 0x98268;
pub const FSCTL_DUPLICATE_EXTENTS_TO_FILE: u32 = 0x98344;
pub const FSCTL_SET_REPARSE_POINT_EX: u32 = 0x9040c;

// Options and formats of names.
pub const FLT_FILE_NAME_NORMALIZED: u32 = 1;
pub const FLT_FILE_NAME_OPENED: u32 = 2;
pub const FLT_FILE_NAME_SHORT: u32 = 3;
pub const FLT_FILE_NAME_QUERY_DEFAULT: u32 = 0x100;
pub const FLT_FILE_NAME_QUERY_CACHE_ONLY: u32 = 0x200;
pub const FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY: u32 = 0x300;
pub const FLT_FILE_NAME_QUERY_ALWAYS_ALLOW_CACHE_LOOKUP: u32 = 0x400;
pub const FLT_FILE_NAME_REQUEST_FROM_CURRENT_PROVIDER: u32 = 0x1000000;
pub const FLT_FILE_NAME_DO_NOT_CACHE: u32 = 0x2000000;
pub const FLT_FILE_NAME_ALLOW_QUERY_ON_REPARSE: u32 = 0x4000000;

// Which parts of a name are parsed.
pub const FLTFL_FILE_NAME_PARSED_FINAL_COMPONENT: u16 = 1;
pub const FLTFL_FILE_NAME_PARSED_EXTENSION: u16 = 2;
pub const FLTFL_FILE_NAME_PARSED_STREAM: u16 = 4;
pub const FLTFL_FILE_NAME_PARSED_PARENT_DIR: u16 = 8;

// Object attributes.
pub const OBJ_INHERIT: u32 = 2;
pub const OBJ_PERMANENT: u32 = 0x10;
pub const OBJ_EXCLUSIVE: u32 = 0x20;
pub const OBJ_CASE_INSENSITIVE: u32 = 0x40;
pub const OBJ_OPENIF: u32 = 0x80;
pub const OBJ_KERNEL_HANDLE: u32 = 0x200;
pub const OBJ_FORCE_ACCESS_CHECK: u32 = 0x400;

// Sections.
pub const SECTION_QUERY: u32 = 1;
pub const SECTION_MAP_WRITE: u32 = 2;
pub const SECTION_MAP_READ: u32 = 4;
pub const SECTION_MAP_EXECUTE: u32 = 8;
pub const SECTION_EXTEND_SIZE: u32 = 0x10;
pub const SECTION_ALL_ACCESS: u32 = 0xf001f;
pub const PAGE_NOACCESS: u32 = 1;
pub const PAGE_READONLY: u32 = 2;
pub const PAGE_READWRITE: u32 = 4;
pub const PAGE_WRITECOPY: u32 = 8;
pub const PAGE_EXECUTE: u32 = 0x10;
pub const PAGE_EXECUTE_READ: u32 = 0x20;
pub const PAGE_EXECUTE_READWRITE: u32 = 0x40;
pub const PAGE_EXECUTE_WRITECOPY: u32 = 0x80;
pub const SEC_IMAGE: u32 = 0x1000000;
pub const SEC_RESERVE: u32 = 0x4000000;
pub const SEC_COMMIT: u32 = 0x8000000;

// How a section is synchronised.
pub const SyncTypeOther: i32 = 0;
pub const SyncTypeCreateSection: i32 = 1;

// Ports.
pub const FLT_PORT_CONNECT: u32 = 1;
pub const FLT_PORT_ALL_ACCESS: u32 = 0x1f0001;

// Pools.
pub const NonPagedPool: u32 = 0;
pub const PagedPool: u32 = 1;
pub const NonPagedPoolNx: u32 = 0x200;

// Modes of a request.
pub const KernelMode: i8 = 0;
pub const UserMode: i8 = 1;

// Flags of self-issued I/O.
pub const FLTFL_IO_OPERATION_NON_CACHED: u32 = 1;
pub const FLTFL_IO_OPERATION_PAGING: u32 = 2;
pub const FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET: u32 = 4;
pub const FLTFL_IO_OPERATION_SYNCHRONOUS_PAGING: u32 = 8;

/// A context size that means: any size.
pub const FLT_VARIABLE_SIZED_CONTEXTS: usize = usize::MAX;
