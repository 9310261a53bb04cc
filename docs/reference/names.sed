# Prints what a public header declares and a page of section 3 is called after: functions, macros with arguments,
# callbacks, structs and enums, handles. For make, which has to know without Python what to uninstall.
s/^MOCO_API .*[ *]\(moco_[a-z0-9_]*\)(.*/\1/p
s/^#define \(moco_[a-z0-9_]*\)(.*/\1/p
s/^typedef .*(\*\(moco_[a-z0-9_]*\))(.*/\1/p
s/^} \(moco_[a-z0-9_]*\);$/\1/p
s/^typedef [a-z]* .* \(moco_[a-z0-9_]*\);$/\1/p
