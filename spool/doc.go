// Package spool keeps the records that one target has not answered for in
// files of bounded size, so that their source may forget them.
//
// # Life
//
// A spool is a first-in first-out queue of frames. A frame is one batch, encoded. Append
// writes batches behind one another and returns once they are on disk; Next
// gives them back in the same order; Answered says how far the target has
// taken them, and deletes each segment of which nothing is needed any more. Taken
// does so too, and keeps the segments until Answered: what their notes say can be
// counted again (EachTaken) after a kill.
//
// # The directory
//
//	cursor                                       how far the target has answered
//	<first frame>-<first record>-<salt>.seg     a segment, all three in 16, 16 and 8 hex digits
//	*.aside-<unix seconds>                       what cannot be used and was set aside
//
// Frames and records are numbered from 1 for as long as the directory exists,
// whatever is deleted: a frame that is missing is a hole in the numbers, and
// the number of the records in the hole is known exactly.
//
// # A segment, byte by byte
//
// All numbers are little-endian. crc is CRC-32C (Castagnoli), started with the
// segment's salt in place of 0, so that nothing that stands in a log line can
// pass for a frame.
//
//	offset  size
//	0       8     "lbspool" and the version of the format, now '1'
//	8       8     number of its first frame
//	16      8     number of its first record
//	24      8     when it was begun, Unix nanoseconds
//	32      4     salt, a random number
//	36      4     crc of bytes 0 to 35
//	40            frames, one behind the other
//
// The name repeats what is needed to verify frames, should these 40 bytes be damaged.
//
// A frame:
//
//	0       4     "LBSF"
//	4       4     bytes of the payload, 1 to 64 MiB
//	8       4     records in it
//	12      4     crc of the payload
//	16      8     number of the frame, one more than that of the frame before it
//	24      8     number of its first record
//	32      4     crc of bytes 0 to 31
//	36            payload
//
// The payload; a uint is a varint as encoding/binary writes it, an int is zigzag
// encoded as there, a text is its length as uint and its bytes:
//
//	1 byte    version of the payload, now 1
//	8 bytes   when it was appended, Unix nanoseconds
//	uint      bytes of the origin, which is:
//	            texts source, kind, input, path, host; uint labels; for each: texts name, value
//	texts     position before the batch, and after it
//	uints     records read for it, bytes read for it, records filtered from it
//	text      notes of the owner of the spool, of no meaning here
//	uint      records; for each:
//	            int      nanoseconds since the record before it (the first: since 1970)
//	            int      offset, less that of the record before it
//	            1 byte   level
//	            1 byte   facility
//	            uint     flags
//	            text     line
//	            part     message
//	            1 byte   header: 0 none, 1 that of the record before it, 2 parts host, identifier, PID, MSGID, unit
//	            uint     fields; for each: parts name, value
//
// A part is (2*length+1) and an offset, both uint, if it is a part of the line,
// and else (2*length) as uint and the bytes.
//
// # The cursor
//
// Two slots of 64 bytes, written in turn; the valid one with the higher count is
// the cursor. It is overwritten in place: a full disk cannot keep it from moving.
//
//	0       8     "lbspcur1"
//	8       8     count of writes
//	16      8     number of the last frame answered
//	24      8     number of the first record behind it
//	32      8     number of the next frame to be appended
//	40      8     number of its first record
//	48      8     when it was written, Unix nanoseconds
//	56      4     how many of the frames answered the owner has not saved its count of
//	60      4     CRC-32C of bytes 0 to 59
//
// # What can go wrong
//
// A kill or a loss of power while appending leaves a torn end, which Open cuts
// off: it was never promised. Damage in the middle is skipped up to the next frame that
// verifies; what is missing between the two is told as a *LossError by Next. A segment of another
// version is set aside. A frame of an earlier segment whose number
// reaches into a later one is void: it is the rest of an append that failed. A
// disk that is full or read-only makes Append fail, and leaves what is there as it is.
package spool
