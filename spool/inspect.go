package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// Targets lists the names of the spools under dir, sorted. There are none if dir
// is not there.
func Targets(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listing the spools: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// SegmentReport is what Inspect finds in one file.
type SegmentReport struct {
	Name        string    `json:"name"`
	Bytes       int64     `json:"bytes"`
	Frames      int64     `json:"frames"`
	Records     int64     `json:"records"`
	FirstRecord uint64    `json:"firstRecord,omitempty"`
	Oldest      time.Time `json:"oldest,omitzero"`
	Newest      time.Time `json:"newest,omitzero"`
	Damage      []string  `json:"damage,omitempty"` // what is wrong, in words
}

// Report is what Inspect finds in a spool.
type Report struct {
	Bytes      int64           `json:"bytes"`
	Unanswered int64           `json:"unansweredRecords"`
	Answered   uint64          `json:"answeredFrame"` // the read position: the last frame that the target has answered
	Segments   []SegmentReport `json:"segments"`
	Aside      []string        `json:"setAside,omitempty"`
	Damage     []string        `json:"damage,omitempty"` // of the whole
}

// Damaged reports whether anything does not verify.
func (r *Report) Damaged() bool {
	return len(r.Damage) > 0 || slices.ContainsFunc(r.Segments, func(s SegmentReport) bool { return len(s.Damage) > 0 })
}

// Inspect reads a spool that may be in use. It changes nothing. Without verify,
// payloads are not read against their checksums. visit, if not nil, is given each batch that is not
// answered, in order; the batch must not be kept.
func Inspect(dir string, verify bool, visit func(*record.Batch, Given)) (Report, error) {
	var rep Report
	before, err := readCursor(OS{}, filepath.Join(dir, cursorName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		rep.Damage = append(rep.Damage, err.Error())
	}
	known := err == nil
	files, err := (OS{}).List(dir)
	if err != nil {
		return rep, fmt.Errorf("listing the spool: %w", err)
	}
	slices.SortFunc(files, func(a, b FileInfo) int { return strings.Compare(a.Name, b.Name) })
	in := inspector{dir: dir, verify: verify, visit: visit, answered: before.answered, next: before.record}
	var ids []segmentID
	for _, f := range files {
		if id, ok := parseName(f.Name); ok {
			ids = append(ids, id)
		} else if f.Name != cursorName {
			rep.Aside = append(rep.Aside, f.Name)
		}
		rep.Bytes += f.Size
	}
	if !known && len(ids) > 0 {
		in.answered, in.next = ids[0].frame-1, ids[0].record
		if len(rep.Damage) == 0 {
			rep.Damage = append(rep.Damage, "the cursor is missing")
		}
	}
	for i, id := range ids {
		in.stop = 0
		if i+1 < len(ids) {
			in.stop = ids[i+1].frame
		}
		seg, err := in.segment(id, i+1 == len(ids))
		if errors.Is(err, os.ErrNotExist) {
			continue // answered, and deleted, while we looked
		}
		if err != nil {
			seg.Damage = append(seg.Damage, err.Error())
		}
		rep.Segments = append(rep.Segments, seg)
	}
	// What was answered, and deleted, while we looked is not missing.
	after, err := readCursor(OS{}, filepath.Join(dir, cursorName))
	if err != nil {
		after = before
	}
	if known {
		in.hole(before.nextFrame, before.nextRecord, "at the end")
	}
	for _, h := range in.holes {
		if h.before > after.answered+1 {
			rep.Damage = append(rep.Damage, h.text)
		}
	}
	rep.Answered, rep.Unanswered = in.answered, in.unanswered
	return rep, nil
}

// inspector walks over the segments of a spool.
type inspector struct {
	dir    string
	verify bool
	visit  func(*record.Batch, Given)
	stop   uint64 // frames from this number on are void; 0: none is

	dec        decoder
	answered   uint64 // last frame that is answered
	next       uint64 // first record that is expected
	frame      uint64 // last one that was seen
	unanswered int64
	holes      []hole
}

// hole is a place where records are missing.
type hole struct {
	before uint64 // the frame behind it
	text   string
}

// hole notes what is missing in front of a frame, if anything is.
func (in *inspector) hole(frame, record uint64, where string) {
	if record > in.next && in.next > 0 {
		in.holes = append(in.holes, hole{frame, fmt.Sprintf("%d records are missing %s", record-in.next, where)})
	}
}

// segment reads one segment. The end of the last one may be in the making.
func (in *inspector) segment(id segmentID, last bool) (rep SegmentReport, err error) {
	rep = SegmentReport{Name: id.name(), FirstRecord: id.record}
	f, err := os.Open(filepath.Join(in.dir, id.name()))
	if err != nil {
		return rep, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return rep, err
	}
	rep.Bytes = info.Size()
	if last && rep.Bytes <= segmentHeader {
		return rep, nil // it is being begun
	}
	if err := id.checkHeader(f); err != nil {
		if errors.Is(err, errFormat) {
			return rep, err
		}
		rep.Damage = append(rep.Damage, err.Error())
	}
	scan := scanner{f: f, id: id, end: rep.Bytes, stop: in.stop}
	for at := int64(segmentHeader); at < scan.end; {
		h, ok, err := scan.head(at)
		if err != nil {
			return rep, fmt.Errorf("at byte %d: %w", at, err)
		}
		if ok && in.verify {
			if ok, err = scan.payload(at, &h); err != nil {
				return rep, fmt.Errorf("at byte %d: %w", at, err)
			}
		}
		if !ok {
			if in.stop > 0 && h.frame >= in.stop {
				break // void: the rest of an append that failed
			}
			next := scan.resync(at + 1)
			if !last || next < scan.end {
				rep.Damage = append(rep.Damage, fmt.Sprintf("bytes %d to %d do not verify", at, next-1))
			}
			at = next
			continue
		}
		in.frameAt(f, at, &h, &rep)
		at += frameHeader + int64(h.size)
	}
	return rep, nil
}

// frameAt takes one frame into the report.
func (in *inspector) frameAt(f io.ReaderAt, at int64, h *head, rep *SegmentReport) {
	rep.Frames++
	rep.Records += int64(h.records)
	b := record.NewBatch()
	defer b.Release()
	p := b.Alloc(int(h.size))
	unanswered := h.frame > max(in.answered, in.frame)
	if in.visit == nil || !unanswered {
		p = p[:min(len(p), headBytes)]
	}
	if n, err := f.ReadAt(p, at+frameHeader); n < len(p) {
		rep.Damage = append(rep.Damage, fmt.Sprintf("at byte %d: %v", at, err))
		return
	}
	c := &cutter{rest: p}
	c.byte()
	appended := time.Unix(0, int64(c.fixed64()))
	rep.saw(appended)
	if !unanswered {
		return
	}
	in.hole(h.frame, h.record, fmt.Sprintf("in front of byte %d of %s", at, rep.Name))
	in.frame, in.next = h.frame, h.next()
	in.unanswered += int64(h.records)
	if in.visit == nil {
		return
	}
	info, err := in.dec.decode(b, p)
	if err != nil {
		rep.Damage = append(rep.Damage, fmt.Sprintf("frame at byte %d: %v", at, err))
		return
	}
	in.visit(b, Given{Frame: Frame{h.frame, h.next()}, Notes: info.notes, Appended: appended})
}

// saw widens the span of times.
func (r *SegmentReport) saw(t time.Time) {
	if r.Oldest.IsZero() || t.Before(r.Oldest) {
		r.Oldest = t
	}
	if t.After(r.Newest) {
		r.Newest = t
	}
}
