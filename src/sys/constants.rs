//! Numbers of the Windows headers that `wdk-sys` does not bind or binds with another type.

// Statuses.
pub const STATUS_SUCCESS: i32 = 0;
pub const STATUS_TIMEOUT: i32 = 0x102;
pub const STATUS_PENDING: i32 = 0x103;
pub const STATUS_REPARSE: i32 = 0x104;
pub const STATUS_OPLOCK_BREAK_IN_PROGRESS: i32 = 0x108;
pub const STATUS_BUFFER_OVERFLOW: i32 = 0x8000_0005_u32 as i32;
pub const STATUS_UNSUCCESSFUL: i32 = 0xC000_0001_u32 as i32;
pub const STATUS_INVALID_PARAMETER: i32 = 0xC000_000D_u32 as i32;
pub const STATUS_END_OF_FILE: i32 = 0xC000_0011_u32 as i32;
pub const STATUS_ACCESS_DENIED: i32 = 0xC000_0022_u32 as i32;
pub const STATUS_OBJECT_NAME_NOT_FOUND: i32 = 0xC000_0034_u32 as i32;
pub const STATUS_PORT_DISCONNECTED: i32 = 0xC000_0037_u32 as i32;
pub const STATUS_OBJECT_PATH_NOT_FOUND: i32 = 0xC000_003A_u32 as i32;
pub const STATUS_FILE_LOCK_CONFLICT: i32 = 0xC000_0054_u32 as i32;
pub const STATUS_DELETE_PENDING: i32 = 0xC000_0056_u32 as i32;
pub const STATUS_REVISION_MISMATCH: i32 = 0xC000_0059_u32 as i32;
pub const STATUS_INSUFFICIENT_RESOURCES: i32 = 0xC000_009A_u32 as i32;
pub const STATUS_CANCELLED: i32 = 0xC000_0120_u32 as i32;
pub const STATUS_KEY_DELETED: i32 = 0xC000_017C_u32 as i32;
pub const STATUS_FILE_DELETED: i32 = 0xC000_0123_u32 as i32;
pub const STATUS_CONNECTION_COUNT_LIMIT: i32 = 0xC000_0246_u32 as i32;
pub const STATUS_VIRUS_INFECTED: i32 = 0xC000_0906_u32 as i32;
pub const STATUS_FLT_CONTEXT_ALREADY_DEFINED: i32 = 0xC01C_0002_u32 as i32;
pub const STATUS_FLT_ALREADY_ENLISTED: i32 = 0xC01C_001B_u32 as i32;
pub const STATUS_FLT_DO_NOT_ATTACH: i32 = 0xC01C_000F_u32 as i32;
pub const STATUS_FLT_FILTER_NOT_FOUND: i32 = 0xC01C_0013_u32 as i32;
pub const STATUS_FLT_INSTANCE_NOT_FOUND: i32 = 0xC01C_0015_u32 as i32;
pub const STATUS_FLT_DELETING_OBJECT: i32 = 0xC01C_000B_u32 as i32;

// Callback data and callbacks.
pub const FLTFL_CALLBACK_DATA_SYSTEM_BUFFER: u32 = 8;
pub const FLTFL_POST_OPERATION_DRAINING: u32 = 1;
pub const FLT_PREOP_SUCCESS_WITH_CALLBACK: i32 = 0;
pub const FLT_PREOP_SUCCESS_NO_CALLBACK: i32 = 1;
pub const FLT_POSTOP_FINISHED_PROCESSING: i32 = 0;

// Major functions.
pub const IRP_MJ_CREATE: u8 = 0x00;
pub const IRP_MJ_WRITE: u8 = 0x04;
pub const IRP_MJ_SET_INFORMATION: u8 = 0x06;
pub const IRP_MJ_FILE_SYSTEM_CONTROL: u8 = 0x0d;
pub const IRP_MJ_CLEANUP: u8 = 0x12;
pub const IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION: u8 = 0xff;
pub const IRP_MJ_PREPARE_MDL_WRITE: u8 = 0xef;
pub const IRP_MJ_MDL_WRITE_COMPLETE: u8 = 0xee;
pub const IRP_MJ_VOLUME_DISMOUNT: u8 = 0xec;
pub const IRP_MJ_OPERATION_END: u8 = 0x80;

// Flags of an open.
pub const SL_OPEN_PAGING_FILE: u8 = 2;
pub const SL_OPEN_TARGET_DIRECTORY: u8 = 4;
pub const FILE_DIRECTORY_FILE: u32 = 1;
pub const FILE_DELETE_ON_CLOSE: u32 = 0x1000;
pub const FILE_OPEN_BY_FILE_ID: u32 = 0x2000;
pub const FILE_DISPOSITION_OPEN: u32 = 1;
pub const FO_STREAM_FILE: u32 = 0x100;
pub const FO_CLEANUP_COMPLETE: u32 = 0x4000;
pub const FO_DELETE_ON_CLOSE: u32 = 0x1_0000;
pub const FO_HANDLE_CREATED: u32 = 0x4_0000;
pub const FO_VOLUME_OPEN: u32 = 0x40_0000;
pub const IRP_PAGING_IO: u32 = 0x2;
pub const IRP_SYNCHRONOUS_PAGING_IO: u32 = 0x40;

// Access.
pub const FILE_READ_DATA: u32 = 0x1;
pub const FILE_WRITE_DATA: u32 = 0x2;
pub const FILE_APPEND_DATA: u32 = 0x4;
pub const FILE_WRITE_EA: u32 = 0x10;
pub const FILE_EXECUTE: u32 = 0x20;
pub const FILE_WRITE_ATTRIBUTES: u32 = 0x100;
pub const DELETE: u32 = 0x1_0000;
pub const MAXIMUM_ALLOWED: u32 = 0x0200_0000;
pub const GENERIC_ALL: u32 = 0x1000_0000;
pub const GENERIC_EXECUTE: u32 = 0x2000_0000;
pub const GENERIC_WRITE: u32 = 0x4000_0000;
pub const GENERIC_READ: u32 = 0x8000_0000;

// What a create did.
pub const FILE_OPENED: usize = 1;

// Contexts.
pub const FLT_INSTANCE_CONTEXT: u16 = 2;
pub const FLT_STREAM_CONTEXT: u16 = 8;
pub const FLT_TRANSACTION_CONTEXT: u16 = 0x20;
pub const FLT_SECTION_CONTEXT: u16 = 0x40;
pub const FLT_CONTEXT_END: u16 = 0xffff;
pub const FLT_SET_CONTEXT_KEEP_IF_EXISTS: u32 = 1;

// Pool, objects, sections.
pub const NON_PAGED_POOL_NX: i32 = 0x200;
pub const OBJ_CASE_INSENSITIVE: u32 = 0x40;
pub const OBJ_KERNEL_HANDLE: u32 = 0x200;
pub const SECTION_QUERY: u32 = 1;
pub const SECTION_MAP_READ: u32 = 4;
pub const PAGE_READONLY: u32 = 2;
pub const PAGE_READWRITE: u32 = 4;
pub const PAGE_EXECUTE_READWRITE: u32 = 0x40;
pub const SEC_COMMIT: u32 = 0x0800_0000;
pub const SYNC_TYPE_CREATE_SECTION: i32 = 1;
pub const PROCESS_DUP_HANDLE: u32 = 0x40;
pub const THREAD_ALL_ACCESS: u32 = 0x001f_ffff;
pub const SYNCHRONIZE: u32 = 0x0010_0000;
pub const KEY_READ: u32 = 0x2_0019;
pub const MM_COPY_MEMORY_VIRTUAL: u32 = 2;
pub const KERNEL_MODE: i8 = 0;
pub const REG_DWORD: u32 = 4;

// Queries.
pub const FILE_STANDARD_INFORMATION: i32 = 0x05;
pub const FILE_ID_INFORMATION: i32 = 0x3b;
pub const FILE_ATTRIBUTE_TAG_INFORMATION: i32 = 35;
/// FILE_ATTRIBUTE_RECALL_ON_OPEN and FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS.
pub const RECALL_ATTRIBUTES: u32 = 0x0044_0000;
pub const FLTFL_IO_OPERATION_NON_CACHED: u32 = 1;
pub const FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET: u32 = 4;
pub const FILE_FS_ATTRIBUTE_INFORMATION: i32 = 5;
pub const FILE_DAX_VOLUME: u32 = 0x2000_0000;
pub const FLT_FILE_NAME_OPENED: u32 = 2;
pub const FLT_FILE_NAME_QUERY_DEFAULT: u32 = 0x100;

// Volumes.
pub const FILE_DEVICE_NETWORK_FILE_SYSTEM: u32 = 0x14;
pub const FLT_FSTYPE_RAW: u32 = 1;
pub const FLT_FSTYPE_NTFS: u32 = 2;
pub const FLT_FSTYPE_LANMAN: u32 = 6;
pub const FLT_FSTYPE_MUP: u32 = 0xd;
pub const FLT_FSTYPE_NPFS: u32 = 0x19;
pub const FLT_FSTYPE_MSFS: u32 = 0x1a;
pub const FLT_FSTYPE_CSVFS: u32 = 0x1b;
pub const FLT_FSTYPE_REFS: u32 = 0x1c;
pub const FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME: u32 = 4;

pub const TRANSACTION_NOTIFY_COMMIT: u32 = 0x4;
pub const TRANSACTION_NOTIFY_ROLLBACK: u32 = 0x8;
pub const TRANSACTION_NOTIFY_COMMIT_FINALIZE: u32 = 0x4000_0000;
