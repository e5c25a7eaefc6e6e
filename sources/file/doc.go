// Package file follows log files.
//
// # Inputs
//
// An input is one inode. Its key (Origin().Input) is device, inode number and
// birth time, or the inode's generation where the file system has no birth time:
// an inode number that is used again while positions of its former holder are
// still stored gives another key. Where a file system knows neither, the key is
// device and inode alone and the fingerprint in the position decides. A file
// whose device number changed (device numbers are given out at boot) but whose
// inode, birth time and fingerprint are those of a stored input keeps that
// input's key.
//
// A file is opened when it is discovered, and its descriptor stays open until
// the file was renamed out of the globs or deleted, was read to its end, and was
// quiet for a minute; then its Reader says io.EOF, and other Readers that have
// not read it to its end go on. The descriptor itself belongs to the Input: as
// long as somebody holds the Input he may Open it, be the file deleted or not;
// it is closed when the last holder is gone (by the garbage collector, so within
// minutes).
//
// # Where reading starts
//
// A file that is there when Run begins and was never seen starts as startAt says
// only if Deps.FirstRun is true, not one stored position is known, and it was not born
// after New: Run may come late, and what appears meanwhile is new. One stored
// position of the source, of whatever file, proves an earlier run: then a file
// without a position was created while nobody looked, and is read from its
// beginning. So that a file which was there and stayed silent is not taken for
// such a one, the pipeline must store Start() when it opens an input for the
// first time; the first Read of a new Reader therefore returns the position even
// if there is nothing to read. startAt end means behind the last newline: an
// unfinished line is shipped whole.
//
// # Lines
//
// A line ends with "\n"; one "\r" before it is taken away. Empty lines are not
// records; they count in ReadBytes only. NUL bytes at the beginning of a line
// (the hole that a writer without O_APPEND leaves after a copytruncate, the
// zeroed tail after a power cut) are taken away, but only once something follows
// them: a preallocated file is not run over. A UTF-8 byte order mark is taken
// away; UTF-16 is recognised by its byte order mark and becomes UTF-8, its
// offsets stay those of the file.
//
// A line longer than maxLineBytes is cut there (not within a UTF-8 sequence),
// flagged Truncated and counted as "truncated_line"; the rest of it up to the
// newline is passed over. In UTF-16 the limit counts the bytes of the file and
// those of the text.
//
// An unfinished line is left in the file, unread, until its newline comes, and
// costs no memory meanwhile. After a clean stop it is read whole at the next
// start, for the position lies before it. Only once its file was renamed out of
// the globs or deleted and was quiet for five seconds is it shipped as it is,
// flagged Torn.
//
// # Rotation
//
// Rename and create, and delete and create, lose nothing while lbshipd runs: a
// file that was renamed before it could be opened is followed through the rename
// events of its directory. Lost is only a file that is created, written and
// deleted again before it could be opened (about a millisecond), which is a GapError
// "vanished", or moved into a directory that is not watched within that time. A file that was renamed while
// lbshipd was down is looked for by its inode in the directories of the globs.
// One that was both created and renamed out of the globs while lbshipd was down
// is found if its name is that of a globbed path with something added
// (app.log.1, app.log-20260102) and it was born after the former daemon had
// surely watched; not if it was moved elsewhere, or the file system knows no birth
// times. If it was compressed meanwhile, the modification time that compressors keep, or gzip's
// header, shows that it was written to since; else that it was compressed after the file
// which the former daemon had read last. What may have been read before, for neither is known,
// is a GapError "vanished" of unknown size. A glob that has the rotated names too (with the compressed ones
// excluded) finds what is not compressed in any case. The same is done when events were lost. Without inotify, the same is true of a file
// created and renamed between two looks at its directory (100 ms, or more if
// looking takes more than a tenth of the time): it is found by its birth and name.
// One that was read and is gone, without a copy, is a GapError "vanished" too.
//
// All sources of the process share one inotify instance. A source that replaces
// another one takes over the files that this one has open, deleted or not.
//
// A file is taken to be truncated when it is shorter than what was read of it,
// and to be rewritten when the last KiB before the position is not what it was;
// either is a GapError, and reading goes on at the beginning. This is checked
// with every read of data and whenever the file's size or modification time
// changed. It cannot be seen when a file is rewritten, between two looks at it,
// with a content that is the same in that KiB.
//
// copytruncate destroys the lines that are written between the copy's last read
// and the truncation, whoever reads the file, unless they are read before. A
// file that is written fast is therefore looked at about every 4 KiB of it (2 to
// 20 ms), and every millisecond once a file appears beside it whose name is its
// own with something added. What was not read by then is read from the copy. The
// gap says how many bytes are known to be lost, 0 if only those may be that
// nobody has seen. Use rename and create where the writer can reopen its file.
//
// # Copies and compressed files
//
// When the content that a position is in is no longer in its inode (the file was
// compressed, or truncated after it was copied, or came back from a backup as
// another inode), it is looked for in the files of the same directory whose
// names begin like the path's: app.log.1, app.log-20261121.gz,
// app-20261121.log.zst. It is known by the fingerprint at the position: of gzip,
// zstd, xz, bzip2 and LZ4 frames by their content, whatever they are called.
// Positions are offsets in the content, so reading goes on after any restart;
// what was shipped is decompressed again and passed over, once per Reader. A
// position at offset 0 has no fingerprint and is not found. Memory is bounded: a
// zstd window and an xz dictionary by 64 MiB, a file that wants more counts as
// corrupt; and no more than eight archives are decompressed at a time. What can
// be read of a broken one is read, the rest is a GapError "corrupt"; a flipped
// bit in gzip may show only in its checksum, and what was shipped until then is
// wrong. An archive that ends too early but was changed in the last ten seconds
// is waited for.
//
// A compressed file (by its ending or its first bytes) that a glob matches is
// left out otherwise, unless it was created and compressed while nobody looked: what is in it was either read when it was written, or is
// older than the source. It is counted as "compressed_file", and said once. One that was found while
// it was empty, under the temporary name that a compressor gives it (app.log.1.tmp, as the kubelet
// does), is told by its first bytes before anything of it is shipped, and is left out from then on. So are, as
// "binary_file", archives, swap files of Vim and journals that a glob such as * matches.
//
// # Held files
//
// What was deleted or rotated away stays open as long as a Reader needs it. When
// deleted files take more than maxHeldBytes of the disk, more than maxHeldFiles
// are open, or one is older than maxHeldAge, the oldest is given up: its disk
// space is freed at once, "given_up_file" is counted, and each Reader that was
// not at its end returns a GapError "given_up" with its bytes. Files that are
// still on the disk under another name do not count for maxHeldBytes.
package file
