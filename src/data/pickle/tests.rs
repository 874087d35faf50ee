use super::*;

/// `{"data": array([[1, 2], [3, 4]], dtype=uint8), "labels": [5, 6]}` as Python 2 wrote it.
pub(super) fn sample() -> Vec<u8> {
    let mut file =
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03".to_vec();
    file.extend(b"cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02K\x02\x86");
    file.extend(b"cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff");
    file.extend(
        b"J\xff\xff\xff\xffK\x00tb\x89U\x04\x01\x02\x03\x04tbU\x06labelsq\x08](K\x05K\x06eu.",
    );
    file
}

#[test]
fn arrays_and_lists_are_read() {
    let file = sample();
    let pickle = Pickle::read(&file).unwrap();
    let data = pickle.byte_array(pickle.entry("data").unwrap()).unwrap();
    assert_eq!(data, ByteArray { shape: vec![2, 2], bytes: Cow::Borrowed(&[1, 2, 3, 4]) });
    assert_eq!(pickle.integers(pickle.entry("labels").unwrap()), Some(vec![5, 6]));
    assert_eq!(pickle.entry("names"), None);
}

#[test]
fn nothing_is_called() {
    let refused = |program: &[u8]| Pickle::read(program).unwrap_err();
    for (program, callee) in [
        (&b"\x80\x02cos\nsystem\n(U\x02lstR."[..], "os system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93)R.", "os system"),
        (b"\x80\x02c_codecs\nencode\n(U\x01atR.", "_codecs encode"),
        (b"\x80\x02c__builtin__\nbytes\nK\xff\x85R.", "__builtin__ bytes"),
        (b"\x80\x02cnumpy.core.numeric\n_frombuffer\n)R.", "numpy.core.numeric _frombuffer"),
        (b"\x80\x02cnumpy\ndtype\n)R.", "numpy dtype"),
    ] {
        let e = refused(program);
        assert!(e.contains(&format!("wants to call \"{callee}\"")), "{e}");
    }
    let e = refused(b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0utf-7\x86R.");
    assert!(e.contains("not encoded as \"latin1\""), "{e}");
    let e = refused(b"\x80\x04K\x01K\x02\x93)R.");
    assert!(e.contains("a name that is not a string"), "{e}");
}

#[test]
fn other_protocols_are_told_what_to_do() {
    // `pickle.dumps({"labels": [1]}, protocol=0)` and with 1.
    for old in
        [&b"(dp0\nVlabels\np1\n(lp2\nI1\nas."[..], b"}q\0X\x06\0\0\0labelsq\x01]q\x02K\x01as."]
    {
        let e = Pickle::read(old).unwrap_err();
        assert!(
            e.contains("protocol 0 or 1") && e.contains("pickle.dump(batch, file, protocol=4)"),
            "{e}"
        );
    }
    let e = Pickle::read(b"\x80\x06}.").unwrap_err();
    assert!(e.contains("protocol 6; 2 to 5 are read"), "{e}");
}

#[test]
fn text_stands_for_bytes_only_in_latin1() {
    let pickled = |text: &str| {
        let mut file = b"\x80\x02}(U\x04datac_codecs\nencode\nX".to_vec();
        file.extend((text.len() as u32).to_le_bytes());
        file.extend(text.as_bytes());
        file.extend(b"X\x06\0\0\0latin1\x86Ru.");
        file
    };
    let file = pickled("\0\x7f\u{80}\u{ff}");
    let pickle = Pickle::read(&file).unwrap();
    let text = pickle.text(pickle.entry("data").unwrap()).unwrap();
    assert_eq!(text.as_ref(), [0, 0x7f, 0x80, 0xff]);
    let file = pickled("\u{100}");
    let pickle = Pickle::read(&file).unwrap();
    assert_eq!(pickle.text(pickle.entry("data").unwrap()), None);
}

#[test]
fn endless_programs_end() {
    // One value, mark or reference per byte of the file; a true batch has fewer by far.
    for operations in [&b"N"[..], b"(", b"N\x94", b"]\x94h\0"] {
        let program = [&b"\x80\x02"[..], &operations.repeat(3_000_000)].concat();
        let e = Pickle::read(&program).unwrap_err();
        assert!(e.contains("more than 2000000 operations"), "{e}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    let file = sample();
    for n in 0..file.len() {
        assert!(Pickle::read(&file[..n]).is_err(), "{n}");
    }
}
