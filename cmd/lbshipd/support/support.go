// Package support gathers what somebody else needs to see what is wrong with a
// daemon, without secrets and without what was logged, as one archive.
//
// Each part is by itself: what cannot be gathered, because the daemon hangs or
// the user may not read it, is named in the manifest with the reason. Parts are
// texts made of known things; all of them go through the same scrubber, which knows
// the secrets of the configuration, of the files that it names, and of the daemon's environment.
package support

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/scrub"
)

// Limits of a bundle.
const (
	maxPart  = 4 << 20  // bytes of one file in it, before it is compressed
	maxTotal = 24 << 20 // bytes of all of them
	maxTime  = 60 * time.Second
	partTime = 15 * time.Second // more than one answer of the daemon may take
)

// Options say of which daemon a bundle is made.
type Options struct {
	// Version is what this program is, as JSON.
	Version any
	// PID is the daemon's process; 0: the one that runs here, if there is one.
	PID int
	// Sockets are the paths of admin sockets by which the daemon is found: the first that somebody listens on.
	Sockets []string
	// Connect returns what asks the daemon whose socket is at the given path, which is
	// empty if that is not known.
	Connect func(socket string) (*client.Client, error)
	// Config and DataDir are where its configuration and its state are; empty: as
	// its command line says, or else as the package has it.
	Config, DataDir string
	// Unit is the name of its unit.
	Unit string
	// Since is how far back its log is gathered.
	Since time.Time
	// JournalDirs are where its log is looked for; empty: in this machine's journal.
	JournalDirs []string

	// CommandLine reads the arguments of lbshipd run, in the given environment.
	CommandLine func(args []string, getenv func(string) string, root bool) (Settings, error)
	// EtcdCopy reads the objects of a daemon's copy of what etcd held; nil: this program knows no etcd.
	EtcdCopy func(path string) ([]config.Stored, error)
	// Doctor, if not nil, returns the doctor's report.
	Doctor func(ctx context.Context, s Settings) ([]byte, error)

	root string // of the machine's files; for tests
}

// Settings are what a daemon was started with, as far as it matters here.
type Settings struct {
	Config   string   // its file, empty if there is none
	Etcd     bool     // its configuration is in etcd
	DataDir  string   // its state
	Socket   string   // its admin socket, empty if it has none
	Secrets  []string // files that hold secrets
	Files    []string // other files that it was told of
	Defaults bool     // nothing is known of a daemon: these are what the package has
}

// Bundle is what was gathered.
type Bundle struct {
	Manifest Manifest
	files    []file
}

// file is one file of the archive.
type file struct {
	name string
	data []byte
}

// Manifest says what a bundle holds, and what could not be gathered, and why.
type Manifest struct {
	Created time.Time `json:"created"`
	Host    string    `json:"host"`
	// Daemon is what it was made of: a process, or that there is none.
	Daemon string `json:"daemon"`
	// KnownSecrets is how many secrets were looked for, beside what looks like one.
	KnownSecrets int            `json:"knownSecrets"`
	Parts        []ManifestPart `json:"parts"`
	// Missing are the parts, or pieces of them, that could not be gathered.
	Missing []Missing `json:"missing"`
	Seconds float64   `json:"seconds"`
}

// ManifestPart is one file of a bundle.
type ManifestPart struct {
	File  string `json:"file"`
	About string `json:"about"`
	Bytes int    `json:"bytes"`
	Cut   bool   `json:"cut,omitempty"` // it was longer
}

// Missing is what could not be gathered.
type Missing struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// gatherer is what the parts are made with.
type gatherer struct {
	o        Options
	daemon   *daemon // nil: none runs
	settings Settings
	scrub    *scrub.Scrubber
	asked    *asked
	noted    []Missing // while the secrets were gathered
}

// Gather makes a bundle. It never fails: what cannot be gathered is in the manifest.
func Gather(ctx context.Context, o Options) *Bundle {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	begin := time.Now()
	g := &gatherer{o: o, scrub: &scrub.Scrubber{}, asked: &asked{}}
	b := &Bundle{Manifest: Manifest{Created: begin.UTC(), Host: hostname(), Parts: []ManifestPart{}, Missing: []Missing{}}}
	// What comes first is needed by all: which daemon, and what is secret.
	if err := inTime(ctx, partTime, func() { g.find(); g.secrets(); g.connect() }); err != nil {
		b.miss(g, Missing{"all", fmt.Sprintf("looking for the daemon and for what is secret: %v", err)})
		return b
	}
	g.scrub.Ready()
	b.Manifest.Daemon, b.Manifest.KnownSecrets = g.describe(), g.scrub.Known()
	for _, m := range g.noted {
		b.miss(g, m)
	}
	for i := range parts {
		b.gather(ctx, g, &parts[i])
	}
	b.Manifest.Seconds = time.Since(begin).Round(time.Millisecond).Seconds()
	return b
}

// gather makes one part, in time.
func (b *Bundle) gather(ctx context.Context, g *gatherer, p *part) {
	w := &writer{most: maxPart}
	var data []byte
	var err error
	ctx, cancel := context.WithTimeout(ctx, partTime)
	defer cancel()
	late := inTime(ctx, partTime, func() {
		err = p.gather(g, ctx, w)
		data = g.scrub.Bytes(w.buf.Bytes())
	})
	if late != nil {
		// What still writes to w is left to itself: nobody reads it.
		b.miss(g, Missing{p.file, late.Error()})
		return
	}
	for _, m := range w.missing {
		b.miss(g, Missing{p.file + ": " + m.What, m.Why})
	}
	if err != nil && !errors.Is(err, errNone) {
		b.miss(g, Missing{p.file, err.Error()})
	}
	total := 0
	for _, f := range b.files {
		total += len(f.data)
	}
	if len(data) == 0 {
		return
	}
	if total+len(data) > maxTotal {
		b.miss(g, Missing{p.file, fmt.Sprintf("the bundle would be larger than %d bytes", maxTotal)})
		return
	}
	b.files = append(b.files, file{p.file, data})
	b.Manifest.Parts = append(b.Manifest.Parts, ManifestPart{p.file, p.about, len(data), w.cut})
}

func (b *Bundle) miss(g *gatherer, m Missing) {
	b.Manifest.Missing = append(b.Manifest.Missing, Missing{g.scrub.Text(m.What), g.scrub.Text(m.Why)})
}

// errNone ends a part that there is nothing of here, which is as it should be.
var errNone = errors.New("there is none")

// inTime calls f and waits for it, but not for longer than the time given: a file system that
// hangs keeps its readers for ever.
func inTime(ctx context.Context, most time.Duration, f func()) error {
	ctx, cancel := context.WithTimeout(ctx, most+time.Second) // f may end in time by itself
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done:
		return nil
	case <-time.After(time.Second):
		return errors.New("it took too long")
	}
}
