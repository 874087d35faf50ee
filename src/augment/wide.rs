/// Declares a function that is compiled once per instruction set; a call takes the widest one that the
/// processor has. What the body calls must be inlined into it to profit.
macro_rules! widest {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            // A closure would not do: it is compiled on its own once it has two callers.
            struct Pass<T>(T);
            impl pulp::NullaryFnOnce for Pass<($($ty,)*)> {
                type Output = widest!(@output $($ret)?);

                #[inline(always)]
                fn call(self) -> Self::Output {
                    let ($($arg,)*) = self.0;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Pass(($($arg,)*)))
        }
    };
    (@output) => { () };
    (@output $ret:ty) => { $ret };
}

pub(super) use widest;
