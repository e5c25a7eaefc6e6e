package ctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
)

type editOptions struct {
	*Connection
	how client.Write
}

func newEdit(o Options) *cobra.Command {
	e := &editOptions{}
	c := &cobra.Command{
		Use:   "edit KIND NAME",
		Short: "Change an object in an editor",
		Long: `Change an object as YAML in an editor: $VISUAL, $EDITOR, or vi. What it holds is what
was given, without defaults; secrets read "(hidden)", which keeps them.

If what is saved is wrong, or somebody else has changed the object meanwhile, the
editor is opened again with what is to be known as comments. Leave it without a
change to give up; the text is kept then, and its path is said.`,
		Example:           "  lbshipd edit target siem\n  EDITOR=nano lbshipd edit source app",
		Args:              func(c *cobra.Command, args []string) error { _, err := oneRef(c, args); return err },
		ValidArgsFunction: completeRefs(o),
	}
	addReason(c, &e.how)
	e.Connection = NewConnection(c, o)
	c.RunE = e.run
	return c
}

// oneRef wants exactly one object.
func oneRef(c *cobra.Command, args []string) (ref, error) {
	refs, err := parseRefs(args)
	if err == nil && len(refs) != 1 {
		err = usage("%s takes one KIND NAME", c.CommandPath())
	}
	if err != nil {
		return ref{}, err
	}
	return refs[0], checkName(refs[0].kind, refs[0].name)
}

func (e *editOptions) run(c *cobra.Command, args []string) error {
	r, err := oneRef(c, args)
	if err != nil {
		return err
	}
	api, err := e.Client(c.ErrOrStderr())
	if err != nil {
		return err
	}
	have, err := api.Get(c.Context(), r.kind, r.name, client.AsGiven)
	if err != nil {
		return about(r, missingHint(r, err))
	}
	s := &editing{c: c, api: api, ref: r, have: have, how: e.how}
	if s.dir, err = os.MkdirTemp("", "lbshipd-edit-"); err != nil {
		return fmt.Errorf("making a place for the text: %w", err)
	}
	s.path = filepath.Join(s.dir, r.name+".yaml")
	err = s.loop()
	if err == nil || !s.worth {
		// What editors have left beside it goes too.
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	_ = os.Chmod(s.path, 0o600) // editors write files anew
	return hinted{err, "Your text is kept in " + s.path + ". Correct it and use lbshipd apply -f, or delete it: it may hold secrets."}
}

// editing is one object in an editor.
type editing struct {
	c         *cobra.Command
	api       *client.Client
	ref       ref
	have      client.Object // what it is on the daemon
	how       client.Write
	dir, path string // 0700, 0600
	worth     bool   // the text holds what is nowhere else
	refused   bool   // the text was not valid
}

// header stands above the text.
const header = `# Save and leave to change %s. Lines that begin with # are left out.
# "(hidden)" keeps a secret. Leave without a change to give up.
`

// loop opens the editor until what it leaves is taken or given up.
func (s *editing) loop() error {
	original, err := toYAML(s.have.JSON)
	if err != nil {
		return err
	}
	text, notes := original, ""
	for {
		saved, changed, err := s.ask(text, notes)
		if err != nil {
			return err
		}
		if bytes.Equal(bytes.TrimSpace(saved), bytes.TrimSpace(original)) && !s.worth {
			_, err := fmt.Fprintf(s.c.OutOrStdout(), "%s unchanged\n", s.ref)
			return err
		}
		s.worth = true
		// A program in an editor's place may change the notes alone, again and again.
		if notes != "" && (!changed || s.refused && bytes.Equal(saved, text)) {
			return fmt.Errorf("%s is not changed: given up", s.ref)
		}
		if len(bytes.TrimSpace(saved)) == 0 {
			return fmt.Errorf("%s is not changed: the text is empty (lbshipd delete %s %s deletes it)", s.ref, s.ref.kind, s.ref.name)
		}
		if notes, err = s.write(saved); err != nil {
			return err
		}
		if notes == "" {
			return nil
		}
		text = saved
	}
}

// write stores the text. If that has to be edited again, notes say why.
func (s *editing) write(text []byte) (notes string, err error) {
	s.refused = true
	draft, err := config.Decode(s.ref.kind, s.ref.name+".yaml", text)
	if err != nil {
		return err.Error(), nil
	}
	if name := draft.Object.ObjectName(); name != s.ref.name {
		return fmt.Sprintf("name: was %q and cannot be changed; create another one and delete this one", s.ref.name), nil
	}
	s.how.IfMatch = s.have.Etag
	now, err := s.api.Replace(s.c.Context(), s.ref.kind, s.ref.name, draft.Given, s.how)
	switch {
	case client.Stale(err):
		s.refused = false
		return s.stale(s.c.Context())
	case client.Invalid(err):
		return err.Error(), nil
	case err != nil:
		return "", about(s.ref, err)
	}
	tellWarnings(s.c, s.ref, now.Warnings)
	done := "updated"
	if now.Etag == s.have.Etag {
		done = "unchanged"
	}
	_, err = fmt.Fprintf(s.c.OutOrStdout(), "%s %s\n", s.ref, done)
	return "", err
}

// stale says what somebody else has made of the object, and goes on from there.
func (s *editing) stale(ctx context.Context) (notes string, err error) {
	now, err := s.api.Get(ctx, s.ref.kind, s.ref.name, client.AsGiven)
	if err != nil {
		return "", about(s.ref, err)
	}
	text, err := toYAML(now.JSON)
	if err != nil {
		return "", err
	}
	s.have = now
	return "somebody else has changed it meanwhile. It is now as below; saving with a change\n" +
		"replaces that by your text:\n\n" + string(text), nil
}

// ask opens the editor with a text and notes above it, and returns what it
// leaves, without the notes, and whether it changed anything at all.
func (s *editing) ask(text []byte, notes string) (saved []byte, changed bool, err error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, header, s.ref)
	for line := range strings.Lines(screen.Lines(notes)) {
		b.WriteString(strings.TrimRight("# "+line, " \n") + "\n")
	}
	b.WriteString("\n")
	b.Write(text)
	if err := writePrivate(s.path, b.Bytes()); err != nil {
		return nil, false, fmt.Errorf("writing the text for the editor: %w", err)
	}
	if err := s.editor(); err != nil {
		return nil, false, err
	}
	after, err := readFile(s.path, config.MaxFileBytes)
	if err != nil {
		return nil, false, fmt.Errorf("reading what the editor has left: %w", err)
	}
	return withoutComments(after), !bytes.Equal(after, b.Bytes()), nil
}

// writePrivate writes a file that nobody else can read, even if it is there already.
func writePrivate(path string, text []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// withoutComments leaves out the comments and blank lines above the text, which are ours.
// Those that follow are in YAML's hands: a # may be part of a text.
func withoutComments(text []byte) []byte {
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			break
		}
		text = rest
	}
	return text
}

// editor runs $VISUAL, $EDITOR or vi as git does: as a piece of shell, so that it may have flags.
func (s *editing) editor() error {
	command := "vi"
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if text := os.Getenv(name); text != "" {
			command = text
			break
		}
	}
	// Ctrl-C is the editor's while it runs.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	cmd := exec.Command("/bin/sh", "-c", command+` "$1"`, command, s.path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.c.InOrStdin(), s.c.OutOrStdout(), s.c.ErrOrStderr()
	if err := cmd.Run(); err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			s.worth = s.touched()
			return hinted{fmt.Errorf("the editor %q ended with an error (%w): %s is not changed", command, err, s.ref), "Name one with VISUAL or EDITOR."}
		}
		return fmt.Errorf("running the editor %q: %w", command, err)
	}
	return nil
}

// touched reports whether the file holds another text than the daemon.
func (s *editing) touched() bool {
	text, err := os.ReadFile(s.path)
	original, yamlErr := toYAML(s.have.JSON)
	return s.worth || err != nil || yamlErr != nil || !bytes.Equal(bytes.TrimSpace(withoutComments(text)), bytes.TrimSpace(original))
}
