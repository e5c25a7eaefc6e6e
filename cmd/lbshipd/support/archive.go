package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lbshipd/lbshipd/internal/wholefile"
)

// readme is the first file of each bundle.
const readme = `This archive was made by lbshipd support-bundle.

manifest.json says what is in it, and what could not be gathered, and why.

Left out: private keys, passwords, tokens, tenants, values of the environment, what was
logged (spools, dead letters, journals and files but lbshipd's own messages). In their
places stands "(hidden)". In it: names of hosts, files, sources, targets and users, addresses, and errors
as they were reported, which may quote what a target has answered.

A secret that stands in no configuration, in none of the files that it names, and looks like none, is
not known to be one; nor is one of fewer than 5 letters looked for in messages. Look through the files before you give them away.
`

// Archive returns the bundle as a compressed tar file, with one folder called name in it.
func (b *Bundle) Archive(name string) ([]byte, error) {
	manifest, err := json.MarshalIndent(b.Manifest, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	files := append([]file{{"README", []byte(readme)}, {"manifest.json", append(manifest, '\n')}}, b.files...)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	t := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name + "/" + f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: b.Manifest.Created, Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("writing the archive: %w", err)
		}
		if _, err := t.Write(f.data); err != nil {
			return nil, fmt.Errorf("writing the archive: %w", err)
		}
	}
	if err := t.Close(); err != nil {
		return nil, fmt.Errorf("writing the archive: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("writing the archive: %w", err)
	}
	return out.Bytes(), nil
}

// Name is what the bundle is called, without an ending.
func (b *Bundle) Name() string {
	host := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, b.Manifest.Host)
	return "lbshipd-support-" + host + "-" + b.Manifest.Created.Format("20060102T150405Z")
}

// Save writes the bundle to a file that only its owner may read: all of it or nothing. It takes
// the place of a file only: root must not replace /dev/null, nor what a link points to.
func (b *Bundle) Save(path string) error {
	data, err := b.Archive(b.Name())
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("writing the bundle: %s is there already and is no regular file (- is standard output)", path)
	}
	if err := wholefile.Replace(path, data, wholefile.Mine(0o600), nil); err != nil {
		return fmt.Errorf("writing the bundle %s: %w", path, err)
	}
	return nil
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
