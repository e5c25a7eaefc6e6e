package journald

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
)

// InspectOptions says which entries Inspect prints and how.
type InspectOptions struct {
	Directories []string  // of journal files; with Files empty too: this machine's journal
	Files       []string  // journal files
	Units       []string  // as journalctl -u
	Identifiers []string  // as journalctl -t
	Matches     []string  // FIELD=value, as journalctl
	AfterCursor string    // only entries behind that one
	Since       time.Time // only entries of that time or later, as journalctl --since; zero: all
	Output      string    // export (the default), json or cat, as journalctl -o
	Log         *slog.Logger
}

// Inspect prints journal entries through lbshipd's own reader, in the formats
// of journalctl of systemd 252, and returns when all there are were printed.
func Inspect(ctx context.Context, w io.Writer, o InspectOptions) error {
	print, err := printerOf(o.Output)
	if err != nil {
		return err
	}
	j, err := openInspect(o)
	if err != nil {
		return err
	}
	defer j.close()
	out := bufio.NewWriterSize(w, 64<<10)
	p := &printer{out: out, z: j.z}
	for n := 0; ; n++ {
		if n&1023 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		f := j.next()
		if f == nil {
			if j.refresh(); j.next() != nil {
				continue
			}
			return out.Flush()
		}
		if err := j.use(f); err == nil {
			if err := print(p, f, &f.stream.head, j); err != nil {
				return fmt.Errorf("printing journal entries: %w", err)
			}
		}
		j.given(f)
		j.pop()
	}
}

func openInspect(o InspectOptions) (*journal, error) {
	m, err := newMatcher(o.Units, o.Identifiers, o.Matches)
	if err != nil {
		return nil, err
	}
	var from *location
	if o.AfterCursor != "" {
		loc, err := parseCursor(o.AfterCursor)
		if err != nil {
			return nil, err
		}
		from = &loc
	}
	for _, dir := range o.Directories {
		if _, err := os.ReadDir(dir); err != nil {
			return nil, fmt.Errorf("journal directory: %w", err)
		}
	}
	files := o.Files
	root := ""
	switch {
	case len(o.Directories) == 1 && len(files) == 0:
		root = o.Directories[0]
	default:
		for _, dir := range o.Directories {
			d := newDirectories(dir, nil)
			files = append(files, d.list(timeZero)...)
			d.close()
		}
		if len(o.Directories) > 0 && len(files) == 0 {
			return nil, fmt.Errorf("no journal files in %v", o.Directories)
		}
	}
	tell := func(path string, off uint64, reason string, err error) {
		if o.Log != nil {
			o.Log.Warn("skipped what cannot be read in a journal file", "file", path, "offset", off, "reason", reason, "error", err)
		}
	}
	for _, path := range o.Files {
		f, err := openFile(path)
		if err != nil {
			return nil, err
		}
		f.close()
	}
	j := newJournal(newDirectories(root, files), m, maxPayload, tell)
	if from == nil && !o.Since.IsZero() {
		j.rescan(true)
		if loc, ok := j.before(microsOf(o.Since)); ok {
			from = &loc
		}
	}
	gap, err := j.begin(from)
	if err != nil {
		j.close()
		return nil, err
	}
	if gap != nil {
		tell("", 0, gap.Reason, gap)
	}
	return j, nil
}
