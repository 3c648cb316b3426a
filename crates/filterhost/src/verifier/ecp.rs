//! Extra create parameters: who owns them, and for how long.

super::rules! {
    "Extra create parameters", "ecp";

    FLAGS = "ecp-flags": "Flags are those that the page defines."
        ["FltAllocateExtraCreateParameter function",
         "fltkernel/nf-fltkernel-fltallocateextracreateparameter"]
        off: "They are not looked at.";
    TYPE = "ecp-type": "A parameter has a type."
        ["FltAllocateExtraCreateParameter function",
         "fltkernel/nf-fltkernel-fltallocateextracreateparameter"]
        off: "The run ends with `crash`: a null pointer is followed.";
    POINTER = "ecp-pointer": "What is handed in as a parameter is one that lives."
        ["FltFreeExtraCreateParameter function",
         "fltkernel/nf-fltkernel-fltfreeextracreateparameter"]
        off: "The run ends with `crash`: something else is taken for one.";
    LIST_POINTER = "ecp-list-pointer":
        "What is handed in as a list lives and belongs to nobody else."
        ["FltFreeExtraCreateParameterList function",
         "fltkernel/nf-fltkernel-fltfreeextracreateparameterlist"]
        off: "The run ends with `crash`: something else is taken for one.";
    FREE_ATTACHED = "ecp-free-attached": "A parameter in a list is not freed by itself."
        ["FltFreeExtraCreateParameter function",
         "fltkernel/nf-fltkernel-fltfreeextracreateparameter"]
        off: "The call does nothing.";
    LIST_FREE_ATTACHED = "ecp-list-free-attached": "A list that a create has is not freed."
        ["FltFreeExtraCreateParameterList function",
         "fltkernel/nf-fltkernel-fltfreeextracreateparameterlist"]
        off: "The call does nothing.";
    INSERTED_TWICE = "ecp-inserted-twice": "A parameter is in one list."
        ["FltInsertExtraCreateParameter function",
         "fltkernel/nf-fltkernel-fltinsertextracreateparameter"]
        off: "The call fails with STATUS_INVALID_PARAMETER.";
    LEAK = "ecp-leak": "What was allocated is freed or given to a create."
        ["FltFreeExtraCreateParameter function",
         "fltkernel/nf-fltkernel-fltfreeextracreateparameter"]
        off: "The memory is lost.";
    LOOKASIDE = "ecp-lookaside": "A lookaside list is initialised by the filter that uses it."
        ["FltInitExtraCreateParameterLookasideList function",
         "fltkernel/nf-fltkernel-fltinitextracreateparameterlookasidelist"]
        off: "The call fails, or does nothing.";
    LOOKASIDE_IN_USE = "ecp-lookaside-in-use":
        "A lookaside list is deleted when none of its parameters is in use."
        ["FltDeleteExtraCreateParameterLookasideList function",
         "fltkernel/nf-fltkernel-fltdeleteextracreateparameterlookasidelist"]
        off: "The list is gone.";
}
