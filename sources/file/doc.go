// Package file follows log files.
//
// # Inputs
//
// An input is one inode. Its key (Origin().Input) is device, inode number and
// birth time, or the inode's generation where the file system has no birth
// time: an inode number that is used again while positions of its former
// holder are still stored gives another key. Where a file system knows
// neither, the key is device and inode alone and the fingerprint in the
// position decides. A file whose device number changed (device numbers are
// given out at boot) but whose inode, birth time and fingerprint are those of
// a stored input keeps that input's key.
//
// A file is opened when it is discovered, and its descriptor stays open until
// the file was renamed out of the globs or deleted, was read to its end, and
// was quiet for a minute; then its Reader says io.EOF. The descriptor itself
// belongs to the Input: as long as somebody holds the Input he may Open it, be
// the file deleted or not; it is closed when the last holder is gone (by the
// garbage collector, so within minutes).
//
// # Where reading starts
//
// A file that is there when Run begins and was never seen starts as startAt
// says only if Deps.FirstRun is true and not one stored position is known.
// One stored position of the source, of whatever file, proves an earlier run:
// then a file without a position was created while nobody looked, and is read
// from its beginning. So that a file which was there and stayed silent is not
// taken for such a one, the pipeline must store Start() when it opens an input
// for the first time; the first Read of a new Reader therefore returns the
// position even if there is nothing to read. startAt end means behind the last
// newline: an unfinished line is shipped whole.
//
// # Lines
//
// A line ends with "\n"; one "\r" before it is taken away. Empty lines are
// not records; they count in ReadBytes only. NUL bytes at the beginning of a
// line (the hole that a writer without O_APPEND leaves after a copytruncate,
// the zeroed tail after a power cut) are taken away, but only once something
// follows them: a preallocated file is not run over. A UTF-8 byte order mark
// is taken away; UTF-16 is recognised by its byte order mark and becomes
// UTF-8, its offsets stay those of the file.
//
// A line longer than maxLineBytes is cut there (not within a UTF-8 sequence),
// flagged Truncated and counted as "truncated_line"; the rest of it up to the
// newline is passed over. In UTF-16 the limit counts the bytes of the file and
// those of the text.
//
// An unfinished line is left in the file, unread, until its newline comes, and
// costs no memory meanwhile. After a clean stop it is read whole at the next
// start, for the position lies before it. Only once its file was renamed out
// of the globs or deleted and was quiet for five seconds is it shipped as it
// is, flagged Torn.
//
// # Rotation
//
// Rename and create, and delete and create, lose nothing while lbshipd runs: a
// file that was renamed before it could be opened is followed through the
// rename events of its directory. Lost is only a file that is created, written
// and deleted again before it could be opened (about a millisecond), or moved
// into a directory that is not watched within that time. A file that was
// renamed while lbshipd was down is looked for by its inode in the directories
// of the globs. One that was both created and renamed out of the globs while
// lbshipd was down is found if its name is that of a globbed path with something
// added (app.log.1, app.log-20260102) and it was born after the positions were
// last saved; not if it was compressed meanwhile, was moved elsewhere, or the file
// system knows no birth times. A glob that has the rotated names too (with the
// compressed ones excluded) finds it in any case. Without inotify, the same is true
// of a file created and renamed between two looks at its directory (100 ms).
//
// A file is taken to be truncated when it is shorter than what was read of it,
// and to be rewritten when the last KiB before the position is not what it
// was; either is a GapError, and reading goes on at the beginning. This is
// checked with every read of data and whenever the file's size or modification
// time changed. It cannot be seen when a file is rewritten, between two looks
// at it, with a content that is the same in that KiB.
//
// copytruncate can destroy lines, whoever reads the file: those written
// between the copy's end and the truncation are in no file any more, and those
// written since the last look (20 ms for a file in use) are only in the copy,
// which is not read unless it matches a glob itself, and then as a whole. Use
// rename and create where the writer can reopen its file.
package file
