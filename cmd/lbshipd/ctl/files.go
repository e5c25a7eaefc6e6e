package ctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/config"
)

// maxFiles bounds how many files one command reads.
const maxFiles = 10_000

// readAllFiles reads what -f names and makes one body for the API of it. What is
// wrong with the files is told all at once, each with its file and line.
func readAllFiles(paths []string, recursive, prune bool, stdin io.Reader) (body []byte, err error) {
	files, err := expand(paths, recursive)
	if err != nil {
		return nil, err
	}
	b := bodyMaker{from: map[ref]string{}, lists: map[config.Kind][]json.RawMessage{}, bare: map[config.Kind]string{}, prune: prune}
	var wrong []error
	for _, path := range files {
		if err := b.add(path, stdin); err != nil {
			wrong = append(wrong, err)
		}
	}
	for _, kind := range config.Kinds() {
		// Everything below may be commented out, or a template had nothing to put there.
		if file, ok := b.bare[kind]; ok && prune && b.lists[kind] == nil {
			wrong = append(wrong, fmt.Errorf("%s: %s: is empty: with --prune, write [] if all of them are to be deleted, or leave it out", file, kind.List()))
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return b.body()
}

// expand finds the files of directories.
func expand(paths []string, recursive bool) (files []string, err error) {
	for _, path := range paths {
		if path == "-" {
			if slices.Contains(files, "-") {
				return nil, usage("-f - is given twice")
			}
			files = append(files, path)
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("reading what -f names: %w", err)
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		some, err := filesOf(path, recursive)
		if err != nil {
			return nil, err
		}
		if len(some) == 0 {
			return nil, fmt.Errorf("%s holds no *.yaml, *.yml or *.json", path)
		}
		files = append(files, some...)
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("these are %d files, more than %d", len(files), maxFiles)
	}
	return files, nil
}

// filesOf returns the configuration files of a directory by name. Hidden ones are left out.
func filesOf(dir string, recursive bool) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == dir:
			return nil
		case d.IsDir() && (!recursive || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || strings.HasPrefix(d.Name(), "."):
			return nil
		}
		if slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading what -f names: %w", err)
	}
	return files, nil
}

// bodyMaker gathers objects of several files.
type bodyMaker struct {
	from  map[ref]string // the file that an object is in
	lists map[config.Kind][]json.RawMessage
	bare  map[config.Kind]string // the file with a heading and nothing below it
	prune bool
}

func (b *bodyMaker) add(path string, stdin io.Reader) error {
	var data []byte
	var err error
	name := fileName(path)
	if path == "-" {
		data, err = readAll(stdin, name, config.MaxFileBytes)
	} else {
		data, err = readFile(path, config.MaxFileBytes)
	}
	if err != nil {
		return err
	}
	listed, bare, empty := listedKinds(data)
	var changes []config.Change
	if !b.prune || !empty { // DecodeAll wants an object
		if changes, err = config.DecodeAll(name, data); err != nil {
			return err
		}
	}
	for _, kind := range bare {
		b.bare[kind] = name
	}
	for _, kind := range listed {
		if b.lists[kind] == nil {
			b.lists[kind] = []json.RawMessage{}
		}
	}
	for _, c := range changes {
		r := ref{c.Kind, c.Name}
		if other, twice := b.from[r]; twice {
			return fmt.Errorf("%s: %s is in %s as well", name, r, other)
		}
		b.from[r] = name
		b.lists[c.Kind] = append(b.lists[c.Kind], c.Draft.Given)
	}
	return nil
}

// listedKinds returns the kinds that data has a list of, if only an empty one:
// which objects --prune may delete; bare are those of which it has not even that. empty says that
// there are lists, and nothing in any of them nor beside them.
func listedKinds(data []byte) (kinds, bare []config.Kind, empty bool) {
	others := 0
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc map[string]yaml.Node
		if err := d.Decode(&doc); err != nil {
			// What is wrong, DecodeAll says.
			return kinds, bare, errors.Is(err, io.EOF) && others == 0 && len(kinds) > 0
		}
		others += len(doc)
		for _, kind := range config.Kinds() {
			if list, ok := doc[kind.List()]; ok && list.Tag == "!!null" {
				bare = append(bare, kind)
			} else if ok {
				kinds = append(kinds, kind)
				if list.Kind == yaml.SequenceNode && len(list.Content) == 0 {
					others--
				}
			}
		}
	}
}

func (b *bodyMaker) body() ([]byte, error) {
	body := map[string][]json.RawMessage{}
	for kind, list := range b.lists {
		body[kind.List()] = list
	}
	return json.Marshal(body)
}
