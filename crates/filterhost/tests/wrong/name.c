#include "wrong.h"

WRONG(passive, name_pointer)
{
    FltReleaseFileNameInformation((PVOID)Stray);
    return 0;
}
WRONG(post_create, name_leak)
{
    FLT_FILE_NAME_INFORMATION *lost;
    EXPECT(FltGetFileNameInformation(in->Data, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT,
        &lost), STATUS_SUCCESS);
    return 0;
}
