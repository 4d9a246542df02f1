// gotar lets the tests compare with Go's archive/tar.
//
//	gotar read  < frames    each frame is a big-endian uint32 length and a tar; prints one line of JSON for each
//	gotar write < headers   a JSON list of headers; writes the tar, or fails with the writer's error
//
// Text that is not UTF-8 is given as {"hex": "..."}, times as [seconds, nanoseconds] or null.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"time"
	"unicode/utf8"
)

// mostData bounds the content that is read of one member: sparse maps of mutated archives may claim anything.
const mostData = 1 << 26

type text string

func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(map[string]string{"hex": hex.EncodeToString([]byte(t))})
}

func (t *text) UnmarshalJSON(data []byte) error {
	var plain string
	if json.Unmarshal(data, &plain) == nil {
		*t = text(plain)
		return nil
	}
	var coded map[string]string
	if err := json.Unmarshal(data, &coded); err != nil {
		return err
	}
	raw, err := hex.DecodeString(coded["hex"])
	*t = text(raw)
	return err
}

type member struct {
	Name       text      `json:"name"`
	Typeflag   string    `json:"typeflag"`
	Size       int64     `json:"size"`
	Mode       int64     `json:"mode"`
	UID        int       `json:"uid"`
	GID        int       `json:"gid"`
	Uname      text      `json:"uname"`
	Gname      text      `json:"gname"`
	Linkname   text      `json:"linkname"`
	Devmajor   int64     `json:"devmajor"`
	Devminor   int64     `json:"devminor"`
	Mtime      *[2]int64 `json:"mtime"`
	Atime      *[2]int64 `json:"atime"`
	Ctime      *[2]int64 `json:"ctime"`
	PAX        [][2]text `json:"pax"`
	DataLength *int64    `json:"data_length,omitempty"`
	DataSHA256 string    `json:"data_sha256,omitempty"`
	DataError  string    `json:"data_error,omitempty"`
}

type listing struct {
	Tar   []member `json:"tar"`
	Error *string  `json:"tar_error"`
}

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "read":
		err = readFrames(bufio.NewReader(os.Stdin), os.Stdout)
	case len(os.Args) == 2 && os.Args[1] == "write":
		err = writeHeaders(os.Stdin, os.Stdout)
	default:
		err = errors.New("usage: gotar read|write")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func readFrames(in io.Reader, out io.Writer) error {
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for {
		var length uint32
		if err := binary.Read(in, binary.BigEndian, &length); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		frame := make([]byte, length)
		if _, err := io.ReadFull(in, frame); err != nil {
			return err
		}
		if err := lines.Encode(list(frame)); err != nil {
			return err
		}
	}
}

func list(archive []byte) listing {
	// A plain reader: archive/tar must not seek, as it cannot in a layer from a registry.
	reader := tar.NewReader(io.MultiReader(bytes.NewReader(archive)))
	result := listing{Tar: []member{}}
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return result
		}
		if err != nil {
			class := classOf(err)
			result.Error = &class
			return result
		}
		row := describe(header)
		digest := sha256.New()
		length, err := io.Copy(digest, io.LimitReader(reader, mostData))
		if err == nil && length == mostData {
			err = errors.New("too much data for this program")
		}
		if err != nil {
			class := classOf(err)
			row.DataError = class
			result.Tar = append(result.Tar, row)
			result.Error = &class
			return result
		}
		row.DataLength = &length
		row.DataSHA256 = hex.EncodeToString(digest.Sum(nil))
		result.Tar = append(result.Tar, row)
	}
}

func describe(header *tar.Header) member {
	row := member{
		Name:     text(header.Name),
		Typeflag: string(rune(header.Typeflag)),
		Size:     header.Size,
		Mode:     header.Mode,
		UID:      header.Uid,
		GID:      header.Gid,
		Uname:    text(header.Uname),
		Gname:    text(header.Gname),
		Linkname: text(header.Linkname),
		Devmajor: header.Devmajor,
		Devminor: header.Devminor,
		Mtime:    stamp(header.ModTime),
		Atime:    stamp(header.AccessTime),
		Ctime:    stamp(header.ChangeTime),
		PAX:      [][2]text{},
	}
	for key, value := range header.PAXRecords {
		row.PAX = append(row.PAX, [2]text{text(key), text(value)})
	}
	sort.Slice(row.PAX, func(i, j int) bool { return row.PAX[i][0] < row.PAX[j][0] })
	return row
}

func stamp(at time.Time) *[2]int64 {
	if at.IsZero() {
		return nil
	}
	return &[2]int64{at.Unix(), int64(at.Nanosecond())}
}

func classOf(err error) string {
	switch {
	case errors.Is(err, tar.ErrHeader):
		return "tar-header"
	case errors.Is(err, tar.ErrFieldTooLong):
		return "header-too-long"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "unexpected-eof"
	default:
		return err.Error()
	}
}

type header struct {
	Name     text      `json:"name"`
	Typeflag string    `json:"typeflag"`
	Size     int64     `json:"size"`
	Mode     int64     `json:"mode"`
	Linkname text      `json:"linkname"`
	Mtime    *[2]int64 `json:"mtime"`
	Atime    *[2]int64 `json:"atime"`
	Ctime    *[2]int64 `json:"ctime"`
	PAX      [][2]text `json:"pax"`
	Data     string    `json:"data"`
}

func writeHeaders(in io.Reader, out io.Writer) error {
	var headers []header
	if err := json.NewDecoder(in).Decode(&headers); err != nil {
		return err
	}
	buffered := bufio.NewWriter(out)
	writer := tar.NewWriter(buffered)
	for _, given := range headers {
		made := &tar.Header{
			Name:       string(given.Name),
			Size:       given.Size,
			Mode:       given.Mode,
			Linkname:   string(given.Linkname),
			ModTime:    moment(given.Mtime),
			AccessTime: moment(given.Atime),
			ChangeTime: moment(given.Ctime),
		}
		if given.Typeflag != "" {
			made.Typeflag = given.Typeflag[0]
		}
		if given.Atime != nil {
			made.Format = tar.FormatPAX
		}
		for _, pair := range given.PAX {
			if made.PAXRecords == nil {
				made.PAXRecords = map[string]string{}
			}
			made.PAXRecords[string(pair[0])] = string(pair[1])
		}
		if err := writer.WriteHeader(made); err != nil {
			return err
		}
		data, err := base64.StdEncoding.DecodeString(given.Data)
		if err != nil {
			return err
		}
		if _, err := writer.Write(data); err != nil {
			return err
		}
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

func moment(at *[2]int64) time.Time {
	if at == nil {
		return time.Time{}
	}
	return time.Unix(at[0], at[1])
}
