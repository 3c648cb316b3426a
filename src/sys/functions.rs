//! The functions of the Filter Manager and of the kernel that `wdk-sys` does not declare.
#![expect(
    unsafe_code,
    reason = "foreign functions can only be declared in an unsafe block"
)]

use super::*;

#[link(name = "fltmgr.sys", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    pub fn FltRegisterFilter(
        driver: *mut DRIVER_OBJECT,
        registration: *const FltRegistration,
        filter: *mut FltFilter,
    ) -> NTSTATUS;
    pub fn FltStartFiltering(filter: FltFilter) -> NTSTATUS;
    pub fn FltUnregisterFilter(filter: FltFilter);
    pub fn FltObjectReference(object: P) -> NTSTATUS;
    pub fn FltObjectDereference(object: P);
    pub fn FltGetRequestorProcess(data: *mut FltCallbackData) -> PEPROCESS;
    pub fn FltGetRequestorProcessId(data: *mut FltCallbackData) -> u32;
    pub fn FltCancelFileOpen(instance: FltInstance, file: *mut FILE_OBJECT);

    pub fn FltGetEcpListFromCallbackData(
        filter: FltFilter,
        data: *mut FltCallbackData,
        list: *mut EcpList,
    ) -> NTSTATUS;
    pub fn FltSetEcpListIntoCallbackData(
        filter: FltFilter,
        data: *mut FltCallbackData,
        list: EcpList,
    ) -> NTSTATUS;
    pub fn FltAllocateExtraCreateParameterList(
        filter: FltFilter,
        flags: u32,
        list: *mut EcpList,
    ) -> NTSTATUS;
    pub fn FltAllocateExtraCreateParameter(
        filter: FltFilter,
        kind: *const Guid,
        size: u32,
        flags: u32,
        cleanup: P,
        tag: u32,
        context: *mut P,
    ) -> NTSTATUS;
    pub fn FltInsertExtraCreateParameter(filter: FltFilter, list: EcpList, context: P) -> NTSTATUS;
    pub fn FltFindExtraCreateParameter(
        filter: FltFilter,
        list: EcpList,
        kind: *const Guid,
        context: *mut P,
        size: *mut u32,
    ) -> NTSTATUS;
    pub fn FltFreeExtraCreateParameter(filter: FltFilter, context: P);
    pub fn FltFreeExtraCreateParameterList(filter: FltFilter, list: EcpList);
    pub fn FltIsEcpAcknowledged(filter: FltFilter, context: P) -> u8;
    pub fn FltIsEcpFromUserMode(filter: FltFilter, context: P) -> u8;
    pub fn FltPrepareToReuseEcp(filter: FltFilter, context: P);

    pub fn FltAllocateContext(
        filter: FltFilter,
        kind: u16,
        size: usize,
        pool: i32,
        context: *mut FltContext,
    ) -> NTSTATUS;
    pub fn FltReferenceContext(context: FltContext);
    pub fn FltReleaseContext(context: FltContext);
    pub fn FltSetStreamContext(
        instance: FltInstance,
        file: *mut FILE_OBJECT,
        operation: u32,
        new: FltContext,
        old: *mut FltContext,
    ) -> NTSTATUS;
    pub fn FltGetStreamContext(
        instance: FltInstance,
        file: *mut FILE_OBJECT,
        context: *mut FltContext,
    ) -> NTSTATUS;
    pub fn FltSetInstanceContext(
        instance: FltInstance,
        operation: u32,
        new: FltContext,
        old: *mut FltContext,
    ) -> NTSTATUS;
    pub fn FltGetInstanceContext(instance: FltInstance, context: *mut FltContext) -> NTSTATUS;

    pub fn FltSetTransactionContext(
        instance: FltInstance,
        transaction: P,
        operation: u32,
        new: FltContext,
        old: *mut FltContext,
    ) -> NTSTATUS;
    pub fn FltGetTransactionContext(
        instance: FltInstance,
        transaction: P,
        context: *mut FltContext,
    ) -> NTSTATUS;
    pub fn FltDeleteTransactionContext(
        instance: FltInstance,
        transaction: P,
        old: *mut FltContext,
    ) -> NTSTATUS;
    pub fn FltEnlistInTransaction(
        instance: FltInstance,
        transaction: P,
        context: FltContext,
        wanted: u32,
    ) -> NTSTATUS;

    pub fn FltGetFileNameInformation(
        data: *mut FltCallbackData,
        options: u32,
        info: *mut *mut FltFileNameInformation,
    ) -> NTSTATUS;
    pub fn FltParseFileNameInformation(info: *mut FltFileNameInformation) -> NTSTATUS;
    pub fn FltReleaseFileNameInformation(info: *mut FltFileNameInformation);
    pub fn FltQueryInformationFile(
        instance: FltInstance,
        file: *mut FILE_OBJECT,
        buffer: P,
        length: u32,
        class: i32,
        returned: *mut u32,
    ) -> NTSTATUS;
    pub fn FltReadFile(
        instance: FltInstance,
        file: *mut FILE_OBJECT,
        offset: *mut i64,
        length: u32,
        buffer: P,
        flags: u32,
        read: *mut u32,
        callback: P,
        context: P,
    ) -> NTSTATUS;
    pub fn FltIsDirectory(file: *mut FILE_OBJECT, instance: FltInstance, is: *mut u8) -> NTSTATUS;
    pub fn FltGetVolumeGuidName(
        volume: FltVolume,
        name: *mut UNICODE_STRING,
        needed: *mut u32,
    ) -> NTSTATUS;
    pub fn FltQueryVolumeInformation(
        instance: FltInstance,
        status: *mut IoStatusBlock,
        buffer: P,
        length: u32,
        class: i32,
    ) -> NTSTATUS;

    pub fn FltCreateCommunicationPort(
        filter: FltFilter,
        port: *mut FltPort,
        attributes: *mut OBJECT_ATTRIBUTES,
        cookie: P,
        connect: Option<ConnectNotify>,
        disconnect: Option<DisconnectNotify>,
        message: P,
        max_connections: i32,
    ) -> NTSTATUS;
    pub fn FltCloseCommunicationPort(port: FltPort);
    pub fn FltCloseClientPort(filter: FltFilter, port: *mut FltPort);
    pub fn FltSendMessage(
        filter: FltFilter,
        port: *mut FltPort,
        sender: P,
        sender_length: u32,
        reply: P,
        reply_length: *mut u32,
        timeout: *mut i64,
    ) -> NTSTATUS;

    pub fn FltRegisterForDataScan(instance: FltInstance) -> NTSTATUS;
    pub fn FltCreateSectionForDataScan(
        instance: FltInstance,
        file: *mut FILE_OBJECT,
        context: FltContext,
        access: u32,
        attributes: *mut OBJECT_ATTRIBUTES,
        maximum: *mut i64,
        protection: u32,
        allocation: u32,
        flags: u32,
        handle: *mut HANDLE,
        object: *mut P,
        size: *mut i64,
    ) -> NTSTATUS;
    pub fn FltCloseSectionForDataScan(context: FltContext) -> NTSTATUS;

    pub fn FltGetVolumeFromFileObject(
        filter: FltFilter,
        file: *mut FILE_OBJECT,
        volume: *mut P,
    ) -> NTSTATUS;

    pub fn FltCancellableWaitForSingleObject(
        object: P,
        timeout: *mut i64,
        data: *mut FltCallbackData,
    ) -> NTSTATUS;
}

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    pub fn IoGetSiloParameters(file: *const FILE_OBJECT) -> *const IoFoextSiloParameters;
    pub fn ExAllocatePoolWithTag(pool: i32, bytes: usize, tag: u32) -> P;
    pub fn MmCopyMemory(
        target: P,
        source: P,
        bytes: usize,
        flags: u32,
        copied: *mut usize,
    ) -> NTSTATUS;
    pub fn FsRtlIsPagingFile(file: *mut FILE_OBJECT) -> u32;
    pub fn MmDoesFileHaveUserWritableReferences(sections: P) -> u32;
    pub fn PsIsHostSilo(silo: P) -> u8;
    pub fn PsGetEffectiveServerSilo(silo: P) -> P;
    pub fn PsGetCurrentServerSilo() -> P;
    pub fn KeQueryInterruptTimePrecise(counter: *mut u64) -> u64;
}
