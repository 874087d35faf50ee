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
    assert_eq!(data, ByteArray { shape: vec![2, 2], bytes: &[1, 2, 3, 4] });
    assert_eq!(pickle.integers(pickle.entry("labels").unwrap()), Some(vec![5, 6]));
    assert_eq!(pickle.entry("names"), None);
}

#[test]
fn nothing_is_called() {
    let e = Pickle::read(b"cos\nsystem\n(U\x02lstR.").unwrap_err();
    assert!(e.contains("wants to call \"os system\""), "{e}");
}

#[test]
fn every_truncation_is_an_error() {
    let file = sample();
    for n in 0..file.len() {
        assert!(Pickle::read(&file[..n]).is_err(), "{n}");
    }
}
