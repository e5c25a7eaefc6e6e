package support

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/config/filestore"
)

// configFile writes the configuration file anew, from what was understood of it: no
// comments, no secrets. Of one that is wrong it says what is.
func (g *gatherer) configFile(_ context.Context, w *writer) error {
	path := g.settings.Config
	if path == "" {
		if g.settings.Etcd {
			return errNone
		}
		return errors.New("the daemon has none: it runs with the built-in configuration")
	}
	c, err := config.Load(path)
	if err == nil {
		w.printf("# %s\n", path)
		for _, warning := range c.Warnings() {
			w.printf("# warning: %s\n", warning)
		}
		return redacted(c, w)
	}
	text, _, readErr := config.ReadFile(path, config.MaxFileBytes)
	if readErr != nil {
		return readErr
	}
	w.printf("# %s\n", path)
	for line := range strings.Lines(err.Error()) {
		w.printf("# cannot be used: %s\n", strings.TrimSpace(line))
	}
	if c, err := config.Parse(path, text); err == nil {
		return redacted(c, w)
	}
	objects, err := config.ParseObjects(path, text)
	if err != nil {
		return nil // said above
	}
	for _, o := range objects {
		if o.Err != nil {
			w.printf("# %s %q: is not shown: it cannot be used\n", o.Kind, o.Name)
			continue
		}
		if err := writeObject(w, o); err != nil {
			return err
		}
	}
	return nil
}

func redacted(c *config.Config, w *writer) error {
	text, err := c.RedactedYAML()
	w.Write(text)
	return err
}

func writeObject(w *writer, o config.Stored) error {
	text, err := config.RenderGiven(o)
	if err != nil {
		return err
	}
	w.printf("# %s\n%s\n", o.Kind, text)
	return nil
}

// copyPath is where a daemon keeps what etcd held last.
func (g *gatherer) copyPath() string { return filepath.Join(g.settings.DataDir, "etcd-cache") }

// etcdCopy writes the objects that the daemon last saw in etcd, as they were given.
func (g *gatherer) etcdCopy(_ context.Context, w *writer) error {
	if g.o.EtcdCopy == nil || g.settings.DataDir == "" {
		return errNone
	}
	objects, err := g.o.EtcdCopy(g.copyPath())
	if errors.Is(err, fs.ErrNotExist) && !g.settings.Etcd {
		return errNone
	}
	if err != nil {
		return err
	}
	type object struct {
		Kind    config.Kind     `json:"kind"`
		Name    string          `json:"name"`
		Etag    string          `json:"etag"`
		By      string          `json:"by,omitempty"`
		Error   string          `json:"error,omitempty"`
		Written json.RawMessage `json:"given"`
	}
	all := make([]object, 0, len(objects))
	for _, o := range objects {
		text, err := config.RenderGiven(o)
		if err != nil {
			w.miss(string(o.Kind)+" "+o.Name, err)
			continue
		}
		out := object{Kind: o.Kind, Name: o.Name, Etag: o.Etag, By: o.By, Written: text}
		if o.Err != nil {
			out.Error = o.Err.Error()
		}
		all = append(all, out)
	}
	return w.json(all)
}

// storedHistory reads the history of a data directory.
func storedHistory(dir string) ([]config.Revision, error) {
	if dir == "" {
		return nil, errors.New("there is no data directory")
	}
	return filestore.ReadHistory(dir)
}

// commandLine writes how the daemon was started: its arguments, and the names of what
// is in its environment with those values that say nothing secret.
func (g *gatherer) commandLine(_ context.Context, w *writer) error {
	if g.daemon == nil {
		w.printf("No daemon was found. Taken from the package's settings:\n%s\n", strings.Join(hideAssignments(g.packaged()), " "))
		return nil
	}
	w.printf("lbshipd %s\n\nworking directory %s\n\nenvironment:\n", strings.Join(hideAssignments(g.daemon.args), " "), g.daemon.dir)
	names := make([]string, 0, len(g.daemon.env))
	for name := range g.daemon.env {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w.printf("%s\n", shownVariable(name, g.daemon.env[name]))
	}
	return nil
}

// named calls f with the files and folders that the configuration names: patterns of
// sources, journals, and files of certificates and secrets.
func (g *gatherer) named(w *writer, f func(key, path string)) {
	dir := filepath.Dir(g.settings.Config)
	each := func(key, value string) {
		if key != "paths" && key != "exclude" && key != "directory" && !strings.HasSuffix(key, "File") || value == "" {
			return
		}
		if !filepath.IsAbs(value) {
			value = filepath.Join(dir, value)
		}
		f(key, value)
	}
	if g.settings.Config != "" {
		text, _, err := config.ReadFile(g.settings.Config, config.MaxFileBytes)
		w.miss("what the configuration names", err)
		if len(text) > 0 {
			visit(text, each)
		}
	}
	if g.o.EtcdCopy == nil || !g.settings.Etcd {
		return
	}
	objects, err := g.o.EtcdCopy(g.copyPath())
	w.miss("what the objects in etcd name", err)
	for _, o := range objects {
		if len(o.Given) > 0 {
			visit(o.Given, each)
		}
	}
}

// fileError is an error of a file, without the file's name, which is beside it.
func fileError(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return fmt.Sprint(err)
}
